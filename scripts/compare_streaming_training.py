"""Measure what training in streaming form gains in stream accuracy over training on clips.

The bundled network is trained on with the same number of frames, in three forms: on clips, on clips
and settled clips (as it was made), and through its step program. Each is then measured on streams
of the test split that no form has seen, over several seeds.

python scripts/compare_streaming_training.py --output docs/camera_motion
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import co3d
from co3d.datasets.generated.canvases import build_canvases
from co3d.files import output_file
from co3d.picture_style import BLUE, INK, MUTED, ORANGE, save_figure, style_axes
from co3d.training.recipe_file import check_recipe
from co3d.training.run import train
from evaluate_camera_motion import GeneratedSet, accuracy, describe_stream, measure_streams

FRAMES_PER_STEP = 192
CHUNK_FRAMES, VIDEO_FRAMES = 16, 96
FORMS: dict[str, dict[str, Any]] = {
    "clip": {"form": {"kind": "clip"}, "data": {"clip_lengths": [8]}},
    "settled": {"form": {"kind": "settled"}, "data": {"clip_lengths": [8, 8, 8, 12, 14, 16]}},
    "stream": {
        "form": {
            "kind": "stream",
            "chunk_frames": CHUNK_FRAMES,
            "video_frames": VIDEO_FRAMES,
            "streams": FRAMES_PER_STEP // CHUNK_FRAMES,
            "window": 8,
        },
        "data": {},
    },
}
SHOWN = {
    "stream_described_accuracy_percent": "all valid steps, changes of motion included (%)",
    "stream_accuracy_percent": "steps within one motion (%)",
    "seconds_to_switch_median": "median time to name a new motion (s)",
}


def train_form(form: str, seed: int, steps: int, folder: Path) -> Path:
    """Train the bundled network on in one form; returns the folder of the run."""
    section = FORMS[form]
    values = {
        "name": form,
        "seed": seed,
        "epochs": 1,
        "keep": "last",
        "model": {"name": "camera_motion"},
        "form": section["form"],
        "data": {
            "kind": "camera_motion",
            "frames_per_batch": FRAMES_PER_STEP,
            "steps_per_epoch": steps,
            "validation_clips": VIDEO_FRAMES,
            "crops_per_photograph": 24,
            "textures_per_kind": 40,
            "workers": 0,
            **section["data"],
        },
        "optimiser": {"kind": "adamw", "learning_rate": 3e-4},
        "schedule": {"kind": "cosine", "warm_up": 0.1},
        "freezing": {"batch_norm": True},
        "compute": {"accelerator": "cpu", "threads": torch.get_num_threads()},
        "logging": {"tensorboard": False},
    }
    return train(check_recipe(values, form), folder / f"{form}-{seed}").folder


def measure(folder: Path | None, source: GeneratedSet, streams: int) -> dict[str, float]:
    """Figures of the streams of one network; of the bundled one where there is no folder."""
    model = co3d.create_model("camera_motion" if folder is None else str(folder))
    with torch.inference_mode():
        measured = measure_streams(model, source, streams, seed=7)
    figures = describe_stream(measured)
    del figures["stream_confusion"]
    assert figures["stream_accuracy_percent"] == accuracy(measured.confusion)
    return figures


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw a dot for each seed of a form, the mean of each form, and the figures at the start."""
    figure = Figure((11, 3.2), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 3), SHOWN.items(), strict=True):
        axes.axvline(results["start"][name], color=MUTED, ls=":", label="before training")
        for row, form in enumerate(FORMS):
            values = [seed[name] for seed in results["forms"][form].values()]
            label = None if row else "one seed"
            axes.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.7, label=label)
            mean = sum(values) / len(values)
            label = None if row else "mean of the seeds"
            axes.plot(mean, row, "|", ms=22, mew=2, color=ORANGE, label=label)
        axes.set_yticks(range(len(FORMS)), FORMS)
        axes.set_ylim(len(FORMS) - 0.5, -0.5)
        axes.set_title(title, loc="left", fontsize=9, color=MUTED)
        style_axes(axes, grid="x")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
    heading = "Fine-tuning on clips, on settled clips and on streams"
    figure.suptitle(heading, x=0.005, ha="left", weight="bold", color=INK)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    style: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK}
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=3, **style)
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D):
            handle.set_markersize(8)
    save_figure(figure, path, dpi=110)


def main() -> None:
    """Train all forms with all seeds, measure them, and write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=72, help="of the optimiser, of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=24, help="30 s streams to measure on")
    parser.add_argument("--output", type=Path, default=Path("docs/camera_motion"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    source = GeneratedSet("test split", build_canvases("test"))
    results: dict[str, Any] = {
        "command": shlex.join(["python", "scripts/compare_streaming_training.py", *sys.argv[1:]]),
        "steps": arguments.steps,
        "frames_per_step": FRAMES_PER_STEP,
        "start": measure(None, source, arguments.streams),
        "forms": {form: {} for form in FORMS},
    }
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(arguments.seeds):
            for form in FORMS:
                folder = train_form(form, seed, arguments.steps, Path(scratch))
                figures = measure(folder, source, arguments.streams)
                results["forms"][form][f"seed {seed}"] = figures
                shown = ", ".join(f"{figures[name]:.2f}" for name in SHOWN)
                print(
                    f"{time.monotonic() - started:5.0f} s  seed {seed} {form:8} {shown}", flush=True
                )
    arguments.output.mkdir(parents=True, exist_ok=True)
    with output_file(arguments.output / "streaming_training.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    draw(results, arguments.output / "streaming_training.png")


if __name__ == "__main__":
    main()
