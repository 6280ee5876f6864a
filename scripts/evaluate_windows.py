"""Measure the camera motion network by window, as clips and as streams, on generated videos.

python scripts/evaluate_windows.py
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

import co3d
from co3d.datasets.generated.camera_motion import CLIP_FRAMES, RATE_HZ, draw_labels, film
from co3d.datasets.generated.canvases import build_canvases
from co3d.datasets.generated.journeys import draw_journeys, follow
from co3d.datasets.generated.motions import LOG_ZOOM, draw_shake, draw_velocities
from co3d.datasets.generated.virtual_camera import CameraPath
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.sampling import Sampling
from co3d.evaluation.clip_mode import ClipEvaluator
from co3d.evaluation.jobs import make_jobs
from co3d.evaluation.localisation import MOMENTS
from co3d.evaluation.run import Evaluator, RunResult
from co3d.evaluation.stream_mode import StreamEvaluator
from co3d.evaluation.summary import Summary, summarise
from co3d.files import output_file
from co3d.models import ClipModel
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.picture_style import BLUE, FAINT, INK, MUTED, ORANGE
from co3d.video import VideoWriter

WINDOWS = (4, 8, 16, 32, 64)
MOTION_FRAMES = 72  # the longest window, and the frames before it is full
JOURNEY_FRAMES = 200
SLOWEST_FIRST_ZOOM = 0.3  # log magnification a second, or nine seconds would outrun the pictures
VIDEOS_AT_ONCE = 12


@dataclass(frozen=True)
class Point:
    """One mode with one window; shares, not percent.

    Attributes:
        mode: "clip" or "stream".
        window: frames of the clip, or feature frames that the stream averages.
        macs: multiply-accumulates of one prediction.
        top1: of videos with one motion: of the only clip in their middle, or the warm prediction.
        every_frame: share of all predictions of a full network that are right; streams only.
        localisation: mean average precision at 25 moments of videos with changing motions.
    """

    mode: str
    window: int
    macs: int
    top1: float
    every_frame: float | None
    localisation: float


def film_motions(canvases: Tensor, folder: Path, count: int, generator: Generator) -> Manifest:
    """Videos of one motion each."""
    labels = draw_labels(count, generator)
    velocities = draw_velocities(labels, generator)
    velocities[:, LOG_ZOOM].clamp_(-SLOWEST_FIRST_ZOOM, SLOWEST_FIRST_ZOOM)
    starts = torch.zeros(count, 4)
    starts[:, LOG_ZOOM] = -velocities[:, LOG_ZOOM] * MOTION_FRAMES / RATE_HZ / 2
    shake = draw_shake(count, torch.arange(MOTION_FRAMES) / RATE_HZ, generator)
    steady = velocities[:, None].expand(-1, MOTION_FRAMES, -1)
    paths = follow(steady, starts, RATE_HZ, shake)
    entries = [
        VideoEntry(f"motion{row:04d}", path.name, (int(labels[row]),))
        for row, path in enumerate(write_videos(canvases, paths, folder, "motion", generator))
    ]
    return Manifest(folder, CAMERA_MOTIONS, tuple(entries))


def film_journeys(canvases: Tensor, folder: Path, count: int, generator: Generator) -> Manifest:
    """Videos in which motions of three to four seconds follow each other."""
    paths, labels = draw_journeys(count, JOURNEY_FRAMES, RATE_HZ, generator)
    entries = []
    for row, path in enumerate(write_videos(canvases, paths, folder, "journey", generator)):
        values = labels[row].tolist()
        starts = [i for i in range(JOURNEY_FRAMES) if i == 0 or values[i] != values[i - 1]]
        segments = tuple(
            Segment(values[start], start / RATE_HZ, (end - 0.5) / RATE_HZ)
            for start, end in zip(starts, [*starts[1:], JOURNEY_FRAMES], strict=True)
        )
        shown = tuple(sorted(set(values)))
        entries.append(VideoEntry(f"journey{row:04d}", path.name, shown, segments=segments))
    return Manifest(folder, CAMERA_MOTIONS, tuple(entries), multi_label=True)


def write_videos(
    canvases: Tensor, paths: CameraPath, folder: Path, name: str, generator: Generator
) -> Iterable[Path]:
    """Film camera paths over canvases, with all effects of the training data, into files."""
    card = co3d.models.get_card("camera_motion")
    for first in range(0, len(paths.x), VIDEOS_AT_ONCE):
        clips = film(canvases, paths[first : first + VIDEOS_AT_ONCE], generator)
        pixels = (clips * card.std[0] + card.mean[0]).clamp(0, 1).mul(255).round().byte()
        for row, video in enumerate(pixels.permute(0, 2, 3, 4, 1).numpy(), first):
            path = folder / f"{name}{row:04d}.mp4"
            with VideoWriter(path, rate_hz=RATE_HZ) as writer:
                for index, image in enumerate(video):
                    writer.write(image, index / RATE_HZ)
            yield path


def measure(evaluator: Evaluator, manifest: Manifest) -> Summary:
    """All measures of an evaluator on all videos of a manifest."""
    records = tuple(evaluator.evaluate(make_jobs(manifest, len(CAMERA_MOTIONS))))
    return summarise(
        RunResult(records, 0, 0, 0.0),
        settings={},
        class_names=CAMERA_MOTIONS,
        multi_label=manifest.multi_label,
        processes=1,
        published=(),
    )


def measure_clip(
    model: ClipModel, motions: Manifest, journeys: Manifest, window: int, macs_per_frame: int
) -> Point:
    """The clip network on clips of `window` frames."""
    middle = measure(ClipEvaluator(motions, model, Sampling(frames=window)), motions)
    spread = Sampling(views=MOMENTS, frames=window)
    moments = measure(ClipEvaluator(journeys, model, spread), journeys)
    assert moments.localisation is not None
    return Point(
        mode="clip",
        window=window,
        macs=window * macs_per_frame,
        top1=middle.to_json()["measures"]["clip"]["top1"],
        every_frame=None,
        localisation=moments.localisation.mean_average_precision,
    )


def measure_stream(model: ClipModel, motions: Manifest, journeys: Manifest, window: int) -> Point:
    """The step program with this window."""
    program = co3d.convert(model, model.card.clip_shape, window=window)
    compiled = co3d.compile(program)
    warm, moments = (
        measure(
            StreamEvaluator(manifest, model.card, compiled, fill="zeros", rate_hz=RATE_HZ), manifest
        )
        for manifest in (motions, journeys)
    )
    assert warm.transient is not None
    assert moments.localisation is not None
    return Point(
        mode="stream",
        window=window,
        macs=program.macs_per_frame,
        top1=warm.to_json()["measures"]["warm"]["top1"],
        every_frame=warm.transient.every_frame,
        localisation=moments.localisation.mean_average_precision,
    )


def draw_points(points: list[Point], path: Path) -> None:
    """Accuracy against cost in the manner of the paper's figure, and against the window."""
    figure = Figure((14.5, 4.6), dpi=110, layout="constrained")
    cost, top1, moments = figure.subplots(1, 3)
    for mode, style, colour, label, shift in (
        ("clip", "s-", ORANGE, "clip of as many frames", (9, -11)),
        ("stream", "o-", BLUE, "stream with this window", (-12, 0)),
    ):
        own = [point for point in points if point.mode == mode]
        windows = [point.window for point in own]
        shares = [100 * point.top1 for point in own]
        macs = [point.macs / 1e6 for point in own]
        cost.plot(macs, shares, style, color=colour)
        top1.plot(windows, shares, style, color=colour)
        moments.plot(windows, [100 * p.localisation for p in own], style, color=colour, label=label)
        for point, x, y in zip(own, macs, shares, strict=True):
            cost.annotate(
                str(point.window),
                (x, y),
                xytext=shift,
                textcoords="offset points",
                ha="center",
                va="center",
                color=colour,
                fontsize=9,
            )
    style_axis(cost, "One motion a video", "million MACs a prediction", "top-1, %")
    cost.set_xscale("log")
    cost.margins(x=0.12)
    for axis, title, label in (
        (top1, "One motion a video", "top-1, %"),
        (moments, "Motions that change every 3 to 4 s", "mAP at 25 moments, %"),
    ):
        style_axis(axis, title, "window, frames", label)
        axis.set_xscale("log", base=2)
        axis.set_xticks(WINDOWS, map(str, WINDOWS))
    moments.legend(frameon=False, fontsize=9)
    with output_file(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="white")


def style_axis(axis: Axes, title: str, x_label: str, y_label: str) -> None:
    """Titles, labels and a grid."""
    axis.set_title(title, loc="left", weight="bold", color=INK)
    axis.set_xlabel(x_label, color=MUTED)
    axis.set_ylabel(y_label, color=MUTED)
    axis.grid(color=FAINT)
    axis.set_axisbelow(True)
    axis.tick_params(colors=MUTED)
    axis.spines[["top", "right"]].set_visible(False)


def format_table(points: list[Point]) -> str:
    """The points as a Markdown table."""
    lines = [
        "| mode | window | MACs a prediction, M | top-1 % | every frame % | mAP at moments % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for point in points:
        every = "" if point.every_frame is None else f"{100 * point.every_frame:.1f}"
        lines.append(
            f"| {point.mode} | {point.window} | {point.macs / 1e6:.1f} | {100 * point.top1:.1f} | "
            f"{every} | {100 * point.localisation:.1f} |"
        )
    return "\n".join(lines) + "\n"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=180, help="of one motion each (default 180)")
    parser.add_argument("--journeys", type=int, default=10, help="of many motions (default 10)")
    parser.add_argument("--seed", type=int, default=11, help="of all videos (default 11)")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/evaluation"), help="folder for the results"
    )
    return parser.parse_args()


def main() -> None:
    """Film, measure, print a table, and write the JSON, the table and the picture."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    model = co3d.create_model("camera_motion")
    macs_per_frame = co3d.convert(model, model.card.clip_shape).clip_macs // CLIP_FRAMES
    generator = torch.Generator().manual_seed(arguments.seed)
    canvases = build_canvases("test")
    with tempfile.TemporaryDirectory() as name:
        motions = film_motions(canvases, Path(name), arguments.videos, generator)
        journeys = film_journeys(canvases, Path(name), arguments.journeys, generator)
        points = [
            measure_clip(model, motions, journeys, window, macs_per_frame) for window in WINDOWS
        ]
        points += [measure_stream(model, motions, journeys, window) for window in WINDOWS]
    print(format_table(points), end="")
    arguments.output.mkdir(parents=True, exist_ok=True)
    report = {
        "command": shlex.join(["python", "scripts/evaluate_windows.py", *sys.argv[1:]]),
        "videos": arguments.videos,
        "journeys": arguments.journeys,
        "processor_seconds": round(time.process_time()),
        "points": [asdict(point) for point in points],
    }
    draw_points(points, arguments.output / "windows.png")
    for file, text in (
        ("windows.json", json.dumps(report, indent=2) + "\n"),
        ("windows.md", format_table(points)),
    ):
        with output_file(arguments.output / file) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    main()
