"""`co3d demo`: run the bundled sample through the bundled model, and show all measurements."""

import dataclasses
import json
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

from rich.progress import track

from co3d.cli.live_view import LiveView
from co3d.cli.tables import print_demo_summary
from co3d.console import Console
from co3d.engine import (
    Labeller,
    LabellingSummary,
    Prediction,
    Segment,
    SpeedComparison,
    compare_with_clip,
    open_labeller,
)
from co3d.files import make_folder, output_file
from co3d.report import (
    annotated_video,
    compare_with_truth,
    read_truth,
    timeline_picture,
)
from co3d.video import read_video

SAMPLE_NAME = "sample.mp4"


def run_demo(output_dir: Path) -> None:
    """Stream the sample, compare with its true labels and with the clip network, print a summary.

    Writes annotated.mp4, timeline.png and summary.json into `output_dir`, created if absent.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    make_folder(output_dir, choice="--output-dir")
    console = Console()
    assets = resources.files("co3d").joinpath("assets")
    with resources.as_file(assets) as folder:
        sample = folder / SAMPLE_NAME
        truth = read_truth(sample.with_suffix(".json"))
        labeller = open_labeller()
        summary, predictions = _stream(console, labeller, sample, truth, output_dir)
        comparison = _compare(console, labeller, sample)
    window_seconds = ((labeller.program.window or 1) - 1) / labeller.rate_hz
    agreements = compare_with_truth(truth, predictions, window_seconds)
    figures = {
        "stream": summary.as_dict(),
        "truth": [dataclasses.asdict(agreement) for agreement in agreements],
        "one_prediction": comparison.as_dict(),
    }
    with output_file(output_dir / "summary.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    written = [output_dir / name for name in ("annotated.mp4", "timeline.png", "summary.json")]
    print_demo_summary(console, labeller, summary, agreements, comparison, written)


def _stream(
    console: Console,
    labeller: Labeller,
    sample: Path,
    truth: list[Segment],
    output_dir: Path,
) -> tuple[LabellingSummary, list[Prediction]]:
    """Label the sample under the live view, writing the annotated video and the timeline."""
    predictions: list[Prediction] = []
    with ExitStack() as stack:
        reader = stack.enter_context(read_video(sample, rate_hz=labeller.rate_hz))
        summary = LabellingSummary(labeller.rate_hz)
        video = annotated_video(
            output_dir / "annotated.mp4", reader, labeller, is_stopped=lambda: False
        )
        title = f"{SAMPLE_NAME} · {labeller.card.name}"
        picture = timeline_picture(output_dir / "timeline.png", labeller, title=title, truth=truth)
        view = LiveView(console, SAMPLE_NAME, labeller, reader, summary)
        sinks = [summary, *map(stack.enter_context, (video, picture, view))]
        for prediction in labeller.label(reader):
            for sink in sinks:
                sink.add(prediction)
            predictions.append(prediction)
    return summary, predictions


def _compare(console: Console, labeller: Labeller, sample: Path) -> SpeedComparison:
    """Time steps and clips, interleaved, over the sample."""
    comparison = SpeedComparison(labeller.program.macs_per_frame, labeller.program.clip_macs)
    with read_video(sample, rate_hz=labeller.rate_hz) as reader:
        frames = list(reader)
    rounds = compare_with_clip(labeller, frames, comparison)
    for _ in track(
        rounds,
        "timing steps against clips",
        total=len(frames) - labeller.card.clip_frames + 1,
        console=console,
        transient=True,
    ):
        pass
    return comparison
