"""What `co3d bench` prints: a narrow table per model, and warnings about disturbances."""

from collections.abc import Sequence

from rich.table import Table

from co3d.benchmark.records import CLIP, Record
from co3d.benchmark.report import Report
from co3d.console import Console

BUSY_RATIO = 1.5
"""A p95 of this many medians means that other programs took the CPU meanwhile."""


def print_report(report: Report, console: Console) -> None:
    """Print median times, how many times faster than a clip each is, and frames per second."""
    console.print(
        f"{report.hardware}, {report.threads} threads, torch {report.versions['torch']}",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    for name in dict.fromkeys(record.model for record in report.records):
        records = [record for record in report.records if record.model == name]
        console.print(_tabulate(name, records))
        if any(record.latency.p95_ms > BUSY_RATIO * record.latency.median_ms for record in records):
            console.print(
                "times vary (p95 over 1.5 times the median): other programs keep the machine busy; "
                "close them and measure again",
                style="yellow",
            )
    for remark in report.remarks:
        console.print(f"not measured: {remark}", style="yellow", soft_wrap=True)
    if not report.is_complete:
        console.print("stopped before its end: models are missing", style="yellow")


def _tabulate(name: str, records: Sequence[Record]) -> Table:
    first = records[0]
    title = f"{name}: {first.clip_frames} frames of {first.size_px} px, {first.rate} rate"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("what")
    table.add_column("run by")
    has_batches = len({record.batch for record in records}) > 1
    headings = ("batch",) if has_batches else ()
    for heading in (*headings, "ms", "p95", "clip ÷ this", "per second"):
        table.add_column(heading, justify="right")
    for record in records:
        latency, ratio = record.latency, record.speedups.get(CLIP)
        table.add_row(
            record.what,
            f"{record.backend.split(',')[0]} {record.precision}",
            *((str(record.batch),) if has_batches else ()),
            f"{latency.median_ms:.2f}",
            f"{latency.p95_ms:.2f}",
            "-" if ratio is None else f"{ratio:.1f}",
            f"{latency.throughput_mean:.1f}",
        )
    return table
