"""Whether rounding adds up over a long stream: 10 000 frames in low precisions against float32.

    python scripts/measure_drift.py --output docs/results

One stream of the bundled network, filmed by the virtual camera over pictures of its test split,
runs through every low precision that is installed and through float32, in step. The ranges of int8
come from other pictures. Writes precision_drift.json, .md and .svg.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from rich.progress import track
from torch import Tensor

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.datasets.generated.camera_motion import RATE_HZ, film
from co3d.datasets.generated.canvases import build_canvases
from co3d.datasets.generated.journeys import draw_journeys
from co3d.files import output_file
from co3d.picture_style import BLUE, GREEN, INK, MUTED, ORANGE, save_figure, style_axes

JOURNEY_FRAMES = 200
CALIBRATION_FRAMES = 600
BIN_FRAMES = 500


@dataclass
class Engine:
    """A low precision at work: its stream, and what it gave frame by frame."""

    name: str
    stream: co3d.Stream
    errors: list[float] = field(default_factory=list)
    moved: list[bool] = field(default_factory=list)


def main() -> None:
    """Run the stream, then write figures and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = co3d.create_model("camera_motion")
    program = co3d.convert(model, model.card.clip_shape)
    with tempfile.TemporaryDirectory() as folder:
        engines = open_engines(program, Path(folder), arguments.seed)
    reference = co3d.open_stream(program, backend="torch")
    frames = film_journeys("test", arguments.frames, arguments.seed)
    for frame in track(frames, "streaming", total=arguments.frames):
        wanted = reference.step(frame)
        for engine in engines:
            made = engine.stream.step(frame)
            if wanted.valid[0]:
                compare(engine, made.output[0], wanted.output[0])
    figures = {
        "command": f"python scripts/measure_drift.py --frames {arguments.frames}",
        "hardware": describe_hardware(),
        "frames": arguments.frames,
        "engines": [describe(engine) for engine in engines],
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    with output_file(arguments.output / "precision_drift.json") as path:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    with output_file(arguments.output / "precision_drift.md") as path:
        path.write_text(format_markdown(figures))
    plot(engines, arguments.output / "precision_drift.svg")
    print(format_markdown(figures))


def open_engines(program: co3d.StepProgram, folder: Path, seed: int) -> list[Engine]:
    """int8 in two runtimes, bfloat16 in one."""
    calibration = film_journeys("validation", CALIBRATION_FRAMES, seed)
    path = folder / "int8.onnx"
    co3d.export_program(program, path, format="onnx", precision="int8", calibration=calibration)
    rounded = co3d.load_program(path).program
    return [
        Engine("onnxruntime int8", co3d.open_stream(rounded, backend="onnxruntime")),
        Engine("openvino int8", co3d.open_stream(rounded, backend="openvino")),
        Engine(
            "openvino bfloat16",
            co3d.open_stream(program, backend="openvino", precision="bfloat16"),
        ),
    ]


def film_journeys(split: str, frames: int, seed: int) -> Iterator[Tensor]:
    """Frames (1, 3, H, W) of journeys one after the other, as of one long video with cuts."""
    canvases = build_canvases(split, seed)
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, frames, JOURNEY_FRAMES):
        path, _ = draw_journeys(1, JOURNEY_FRAMES, RATE_HZ, generator)
        clip = film(canvases, path, generator)
        yield from clip.unbind(2)[: frames - first]


def compare(engine: Engine, made: Tensor, wanted: Tensor) -> None:
    """Note the relative L2 error of the logits, and whether the likeliest label moved."""
    engine.errors.append(float((made - wanted).norm() / wanted.norm()))
    engine.moved.append(bool(made.argmax() != wanted.argmax()))


def describe(engine: Engine) -> dict[str, object]:
    """The figures of one engine; drift is the last tenth's median error over the first tenth's."""
    errors, tenth = np.array(engine.errors), len(engine.errors) // 10
    return {
        "engine": engine.name,
        "runs": engine.stream.backend,
        "median_error": float(np.median(errors)),
        "p99_error": float(np.percentile(errors, 99)),
        "moved_labels_percent": 100 * float(np.mean(engine.moved)),
        "median_error_of_each_tenth": [
            float(np.median(errors[i * tenth : (i + 1) * tenth])) for i in range(10)
        ],
    }


def format_markdown(figures: dict) -> str:
    """A table of the figures."""
    lines = [
        "# Rounding over a long stream",
        "",
        f"`{figures['command']}`, {figures['hardware']}: one stream of {figures['frames']} frames, "
        "relative L2 error of the logits against float32 eager steps.",
        "",
        "| engine | median error | p99 | first tenth | last tenth | other top label |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in figures["engines"]:
        tenths = one["median_error_of_each_tenth"]
        lines.append(
            f"| {one['engine']} | {one['median_error']:.4f} | {one['p99_error']:.4f} "
            f"| {tenths[0]:.4f} | {tenths[-1]:.4f} | {one['moved_labels_percent']:.2f} % |"
        )
    return "\n".join([*lines, "", "![error over frames](precision_drift.svg)", ""])


def plot(engines: list[Engine], path: Path) -> None:
    """Median and 95th percentile of the error in bins of frames."""
    figure = Figure((8, 3.6), layout="constrained")
    axes = figure.subplots()
    for engine, colour in zip(engines, (BLUE, ORANGE, GREEN), strict=True):
        bins = [engine.errors[i : i + BIN_FRAMES] for i in range(0, len(engine.errors), BIN_FRAMES)]
        middles = [BIN_FRAMES * (i + 0.5) for i in range(len(bins))]
        medians = [100 * np.median(errors) for errors in bins]
        upper = [100 * np.percentile(errors, 95) for errors in bins]
        axes.plot(middles, medians, color=colour, linewidth=1.8, label=engine.name)
        axes.plot(middles, upper, color=colour, linewidth=0.9, linestyle=":")
    axes.set(xlabel="frames since the start", ylabel="relative error of the logits, %")
    axes.set(xlim=(0, len(engines[0].errors)), ylim=(0, None))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda frames, _position: f"{frames:,.0f}"))
    title = f"median (line) and 95th percentile (dots) of each {BIN_FRAMES} frames"
    axes.set_title(title, loc="left", fontsize=9, color=MUTED)
    figure.suptitle("Rounding over a long stream", x=0.01, ha="left", weight="bold", color=INK)
    style_axes(axes)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")
    save_figure(figure, path)


if __name__ == "__main__":
    main()
