"""Summaries that are printed at the end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from co3d.console import Console
from co3d.engine import Labeller, LabellingSummary, SpeedComparison
from co3d.report import SegmentAgreement, label_colours

MAX_SEGMENTS = 20
MILLION = 1e6


def print_stream_summary(
    console: Console,
    labeller: Labeller,
    summary: LabellingSummary,
    written: Sequence[Path],
    pictures_left_out: int,
) -> None:
    """Print the labels over time, the figures of the stream, and the files that were written.

    `pictures_left_out` counts pictures that the annotated video lacks because writing was too slow.
    """
    if summary.segments:
        console.print(_segment_table(labeller, summary))
    elif summary.valid_predictions:
        console.print(
            f"no label: none reaches {labeller.threshold:.0%} in {summary.valid_predictions} "
            "predictions; use a lower --threshold",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print(
            f"no valid prediction: {summary.predictions} sampled frames do not fill the window of "
            f"{labeller.program.window}; use a longer video or a shorter --window",
            style="yellow",
            soft_wrap=True,
        )
    console.print(
        f"{summary.predictions} frames described, {summary.frames_per_second:.1f} frames/s, "
        f"step {summary.step_ms_median:.2f} ms (p95 {summary.step_ms_p95:.2f} ms), "
        f"delay {labeller.program.delay} frames, {summary.dropped_frames} dropped",
        highlight=False,
        soft_wrap=True,
    )
    if summary.gaps:
        console.print(
            f"gaps in the source: {summary.gaps}, the longest of "
            f"{summary.longest_gap_seconds:.2f} s",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    if summary.undersampled_predictions:
        console.print(
            f"undersampled: {summary.undersampled_predictions} of {summary.predictions} results "
            "had too few new pictures",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    if pictures_left_out:
        console.print(
            f"left out of the annotated video: {pictures_left_out} pictures, because writing was "
            "too slow",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"backend: {labeller.compiled.backend}", highlight=False, markup=False)
    print_written(console, written)


def _segment_table(labeller: Labeller, summary: LabellingSummary) -> Table:
    segments = list(summary.segments)[-MAX_SEGMENTS:]
    earlier = len(summary.segments) - len(segments)
    table = Table(title=f"the last {MAX_SEGMENTS} labels" if earlier else None, box=None)
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    table.add_column("label")
    colours = label_colours(labeller.labels)
    for segment in segments:
        table.add_row(
            f"{segment.start_seconds:.2f} s",
            f"{segment.end_seconds:.2f} s",
            _name(segment.label, colours),
        )
    return table


def print_demo_summary(
    console: Console,
    labeller: Labeller,
    summary: LabellingSummary,
    agreements: Sequence[SegmentAgreement],
    comparison: SpeedComparison,
    written: Sequence[Path],
) -> None:
    """Print truth against predictions, and the step program against the clip network."""
    console.print(_agreement_table(labeller, agreements))
    console.print(
        "settled: the network's window lies within one segment; until then it still holds frames "
        "of the previous one",
        style="dim",
    )
    console.print(_speed_table(comparison))
    console.print(
        f"{summary.predictions} frames at {summary.frames_per_second:.1f} frames/s, reading, "
        "drawing and writing included",
        highlight=False,
        soft_wrap=True,
    )
    print_written(console, written)


def _agreement_table(labeller: Labeller, agreements: Sequence[SegmentAgreement]) -> Table:
    share = _share(sum(a.agreeing for a in agreements), sum(a.predictions for a in agreements))
    settled = _share(
        sum(a.settled_agreeing for a in agreements), sum(a.settled for a in agreements)
    )
    table = Table(title="labels over time", title_justify="left", show_footer=True)
    table.add_column("seconds", justify="right")
    table.add_column("truth")
    table.add_column("mostly predicted", "all frames")
    table.add_column("agree", share, justify="right")
    table.add_column("settled", settled, justify="right")
    colours = label_colours(labeller.labels)
    for agreement in agreements:
        truth = agreement.truth
        table.add_row(
            f"{truth.start_seconds:.1f} to {truth.end_seconds:.1f}",
            _name(truth.label, colours),
            _name(agreement.mostly, colours),
            _share(agreement.agreeing, agreement.predictions),
            _share(agreement.settled_agreeing, agreement.settled),
        )
    return table


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _speed_table(comparison: SpeedComparison) -> Table:
    title = f"one prediction, {len(comparison.step_ms)} measured interleaved on one thread"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("ms, median", "ms, p95", "million MACs"):
        table.add_column(heading, justify="right")
    for name, milliseconds, macs in (
        ("clip network, newest clip again", comparison.clip_ms, comparison.clip_macs),
        ("stream, one step", comparison.step_ms, comparison.step_macs),
    ):
        table.add_row(
            name,
            f"{np.median(milliseconds):.2f}",
            f"{np.percentile(milliseconds, 95):.2f}",
            f"{macs / MILLION:.1f}",
        )
    table.add_section()
    table.add_row(
        "gain",
        f"{comparison.speedup:.1f} times",
        "",
        f"{comparison.macs_ratio:.1f} times",
        style="bold",
    )
    return table


def print_written(console: Console, written: Sequence[Path]) -> None:
    """Print the names of the written files, one a line."""
    for path in written:
        console.print(Text.assemble(("wrote ", "dim"), str(path)), soft_wrap=True)


def _name(label: str, colours: dict[str, str]) -> Text:
    return Text.assemble(("█ ", colours.get(label, "dim")), label)
