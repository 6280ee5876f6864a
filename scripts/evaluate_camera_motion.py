"""Measure the camera motion network on pictures and footage that it has never seen.

python scripts/evaluate_camera_motion.py --footage FOLDER_OR_VIDEO...
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

import co3d
from co3d.datasets.generated.camera_motion import (
    CLIP_FRAMES,
    FRAME_PX,
    RATE_HZ,
    draw_labels,
    film,
    normalise,
)
from co3d.datasets.generated.canvases import build_canvases
from co3d.datasets.generated.journeys import draw_journeys
from co3d.datasets.generated.motions import draw_paths
from co3d.datasets.generated.virtual_camera import CameraPath, render
from co3d.files import output_file
from co3d.models import ClipModel
from co3d.models.camera_motion import CAMERA_MOTIONS

matplotlib.use("Agg")
import itertools

import matplotlib.pyplot as plt

CLASSES = len(CAMERA_MOTIONS)
CLIPS_PER_BATCH = 36
STREAM_SECONDS = 30
SLOTS = 6
FOOTAGE_SHORT_SIDE_PX = 144
FOOTAGE_VIEW_PX = 96.0  # two thirds of the short side: room for the camera to move
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")


class GeneratedSet:
    """Filmed canvases of the test split, with every effect of the training data."""

    def __init__(self, name: str, canvases: Tensor) -> None:
        self.name = name
        self.canvases = canvases

    def film(self, path: CameraPath, generator: Generator) -> Tensor:
        """Clips (N, 3, T, h, w), normalised."""
        return film(self.canvases, path, generator)


class FootageSet:
    """A real video at its own rate, with a virtual camera moving over it and nothing added."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        frames = []
        with co3d.read_video(path, rate_hz=RATE_HZ) as video:
            for frame in video:
                image = torch.from_numpy(frame.image).permute(2, 0, 1)[None]
                scale = FOOTAGE_SHORT_SIDE_PX / min(image.shape[2:])
                size = [round(side * scale) for side in image.shape[2:]]
                frames.append(F.interpolate(image, size, mode="bilinear", antialias=True)[0])
        self.frames = torch.stack(frames, dim=1)

    def film(self, path: CameraPath, generator: Generator) -> Tensor:
        """Clips (N, 3, T, h, w), normalised, from random moments of the footage."""
        length, available = path.x.shape[1], self.frames.shape[1]
        # Footage shorter than the path plays to and fro.
        order = torch.cat((torch.arange(available), torch.arange(available - 2, 0, -1)))
        clips = []
        for row in range(len(path.x)):
            latest = max(1, available - length + 1)
            start = int(torch.randint(latest, (), generator=generator))
            moments = order[(start + torch.arange(length)) % len(order)]
            footage = self.frames[None, :, moments].float() / 255
            points = path[row : row + 1].view_points(FRAME_PX, FRAME_PX)
            clips.append(render(footage, points, torch.tensor([FOOTAGE_VIEW_PX])))
        return normalise(torch.cat(clips))


ClipSet = GeneratedSet | FootageSet


@dataclass(frozen=True)
class StreamMeasure:
    """What a stream said while motions followed each other.

    Attributes:
        confusion: (9, 9) steps whose receptive field lies inside one motion; row is the truth.
        described_accuracy: share of all valid steps that name the motion of the frame described.
        seconds_to_switch: from the first frame of a new motion to the first step that names it.
        missed_switches: share of changes after which the new motion was never named.
    """

    confusion: Tensor
    described_accuracy: float
    seconds_to_switch: list[float]
    missed_switches: float


def measure_clips(model: ClipModel, source: ClipSet, count: int, seed: int) -> Tensor:
    """Confusion matrix (9, 9) of 8-frame clips; row is the truth."""
    generator = torch.Generator().manual_seed(seed)
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for labels in draw_labels(count, generator).split(CLIPS_PER_BATCH):
        path = draw_paths(labels, CLIP_FRAMES, RATE_HZ, generator)
        predicted = model(source.film(path, generator)).argmax(1)
        confusion += confusion_of(labels, predicted)
    return confusion


def measure_streams(model: ClipModel, source: ClipSet, count: int, seed: int) -> StreamMeasure:
    """Step through `count` journeys in parallel slots, one frame at a time."""
    generator = torch.Generator().manual_seed(seed)
    program = co3d.convert(model, model.card.clip_shape, window=CLIP_FRAMES)
    frames = round(STREAM_SECONDS * RATE_HZ)
    path, labels = draw_journeys(count, frames, RATE_HZ, generator)
    predicted = torch.cat(
        [
            step_through(program, source.film(path[row : row + SLOTS], generator))
            for row in range(0, count, SLOTS)
        ]
    )
    field = program.receptive_field
    seen = labels.unfold(1, field, 1)
    settled = (seen == seen[..., :1]).all(-1)
    confusion = confusion_of(labels[:, field - 1 :][settled], predicted[:, field - 1 :][settled])
    described = labels[:, program.first_valid_step - program.delay : frames - program.delay]
    agrees = (predicted[:, program.first_valid_step :] == described).float().mean()
    waits = [wait for row in zip(labels, predicted, strict=True) for wait in switch_waits(*row)]
    seconds = [wait / RATE_HZ for wait in waits if wait is not None]
    return StreamMeasure(confusion, float(agrees), seconds, 1 - len(seconds) / len(waits))


def step_through(program: co3d.StepProgram, clips: Tensor) -> Tensor:
    """Likeliest label at each step: clips (N, 3, T, h, w) -> (N, T)."""
    stream = co3d.open_stream(program, slots=len(clips))
    outputs = [stream.step(frames.contiguous()).output for frames in clips.unbind(2)]
    return torch.stack(outputs, dim=1).argmax(2)


def switch_waits(labels: Tensor, predicted: Tensor) -> Iterator[int | None]:
    """Frames from each change of motion until it is named; None if it never is."""
    changes = ((labels[1:] != labels[:-1]).nonzero().flatten() + 1).tolist()
    for start, end in itertools.pairwise(changes):
        named = (predicted[start:end] == labels[start]).nonzero().flatten()
        yield int(named[0]) if len(named) else None


def confusion_of(labels: Tensor, predicted: Tensor) -> Tensor:
    """Count (truth, prediction) pairs: (9, 9) int64."""
    return torch.bincount(labels * CLASSES + predicted, minlength=CLASSES**2).view(CLASSES, CLASSES)


def accuracy(confusion: Tensor) -> float:
    """Share on the diagonal, in percent."""
    return round(100 * float(confusion.trace() / confusion.sum()), 2)


def plot_confusions(panels: dict[str, Tensor], path: Path) -> None:
    """Draw confusion matrices, two a row, in percent of each true motion."""
    rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(13, 6.2 * rows), layout="constrained")
    for panel, (title, confusion) in zip(axes.flat, panels.items(), strict=True):
        percent = 100 * confusion / confusion.sum(1, keepdim=True).clamp(min=1)
        panel.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        panel.set_title(f"{title}: {accuracy(confusion):.1f} %", fontsize=13)
        panel.set_xticks(range(CLASSES), CAMERA_MOTIONS, rotation=40, ha="right")
        panel.set_yticks(range(CLASSES), CAMERA_MOTIONS)
        panel.set(xlabel="prediction", ylabel="truth")
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        for row, column in (percent > 0.5).nonzero().tolist():
            value = float(percent[row, column])
            colour = "white" if value > 50 else "black"
            panel.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
    with output_file(path) as temporary:
        figure.savefig(temporary, dpi=80)
    plt.close(figure)


def find_videos(paths: list[Path]) -> list[Path]:
    """Videos among these files and directly in these folders, sorted."""
    found = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [file for file in inside if file.suffix in VIDEO_SUFFIXES]
    return found


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--footage", type=Path, nargs="*", default=[], help="videos, or folders of videos"
    )
    parser.add_argument("--weights", type=Path, help="safetensors file; default: the bundled one")
    parser.add_argument("--clips", type=int, default=1800, help="clips from each source")
    parser.add_argument("--streams", type=int, default=24, help="30 s streams from each source")
    parser.add_argument("--seed", type=int, default=7, help="of clips and streams (default 7)")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/camera_motion"), help="folder for the results"
    )
    return parser.parse_args()


@torch.inference_mode()
def main() -> None:
    """Measure, print a table, and write the JSON and the picture."""
    arguments = parse_arguments()
    model = co3d.create_model("camera_motion", arguments.weights)
    footage = [FootageSet(path) for path in find_videos(arguments.footage)]
    clips: dict[str, Tensor] = {}
    streams: dict[str, StreamMeasure] = {}
    generated = [
        GeneratedSet("test split", build_canvases("test")),
        GeneratedSet("its photographs alone", build_canvases("test", textures_per_kind=0)),
    ]
    for source in (*generated, *footage):
        clips[source.name] = measure_clips(model, source, arguments.clips, arguments.seed)
        streams[source.name] = measure_streams(model, source, arguments.streams, arguments.seed)
        measured = streams[source.name]
        print(
            f"{source.name:24} clip {accuracy(clips[source.name]):6.2f} %   "
            f"stream {accuracy(measured.confusion):6.2f} %"
        )
    panels: dict[str, Tensor] = {}
    for source in generated:
        panels[f"{source.name}, clips"] = clips[source.name]
        panels[f"{source.name}, stream"] = streams[source.name].confusion
    if footage:
        names = [source.name for source in footage]
        panels["real footage, clips"] = sum_of([clips[name] for name in names])
        panels["real footage, stream"] = sum_of([streams[name].confusion for name in names])
    arguments.output.mkdir(parents=True, exist_ok=True)
    plot_confusions(panels, arguments.output / "confusion.png")
    report = {
        "command": shlex.join(["python", "scripts/evaluate_camera_motion.py", *sys.argv[1:]]),
        "accuracy_percent": {title: accuracy(confusion) for title, confusion in panels.items()},
        "labels": CAMERA_MOTIONS,
        "sources": {
            name: {
                "clip_accuracy_percent": accuracy(clips[name]),
                "clip_confusion": clips[name].tolist(),
                **describe_stream(streams[name]),
            }
            for name in clips
        },
    }
    with output_file(arguments.output / "results.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")


def sum_of(matrices: list[Tensor]) -> Tensor:
    """Element-wise sum."""
    return torch.stack(matrices).sum(0)


def describe_stream(measured: StreamMeasure) -> dict:
    """The figures of a stream, for JSON."""
    waits = torch.tensor(measured.seconds_to_switch)
    return {
        "stream_accuracy_percent": accuracy(measured.confusion),
        "stream_described_accuracy_percent": round(100 * measured.described_accuracy, 2),
        "seconds_to_switch_median": round(float(waits.median()), 3),
        "seconds_to_switch_p90": round(float(waits.quantile(0.9)), 3),
        "missed_switches_percent": round(100 * measured.missed_switches, 2),
        "stream_confusion": measured.confusion.tolist(),
    }


if __name__ == "__main__":
    main()
