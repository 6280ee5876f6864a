"""A benchmark as JSON, as Markdown tables and as a picture."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from co3d.benchmark.ceilings import Ceilings
from co3d.benchmark.picture import draw_picture
from co3d.benchmark.subjects import Record
from co3d.errors import OutputError
from co3d.report import output_file

SCHEMA_VERSION = 1
BASE_NAME = "bench"
HEADINGS = (
    "what",
    "backend",
    "precision",
    "batch",
    "median ms",
    "p95",
    "p99",
    "mean ± std",
    "per second",
    "clip ÷ this",
    "peer ÷ this",
    "times floor",
    "state MB",
    "open s",
)
LEFT_COLUMNS = 3


@dataclass(frozen=True)
class Report:
    """Everything that one run of the benchmark found.

    Attributes:
        command: that repeats it.
        hardware: processor and number of cores. threads: that the CPU backends used.
        versions: package -> version.
        is_complete: False when it was stopped; models that were not finished are left out.
    """

    command: str
    hardware: str
    threads: int
    versions: dict[str, str]
    ceilings: Ceilings
    records: tuple[Record, ...]
    is_complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}

    def as_json(self) -> str:
        """JSON, indented."""
        return json.dumps(self.as_dict(), indent=2) + "\n"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write bench.json, bench.md and bench.svg, each whole or not at all.

    Args:
        report: what was measured.
        folder: made if absent.

    Returns:
        The paths that were written.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}; choose another --output"
        ) from error
    paths = [folder / f"{BASE_NAME}{suffix}" for suffix in (".json", ".md", ".svg")]
    for path, text in zip(paths, (report.as_json(), format_markdown(report)), strict=False):
        with output_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    draw_picture(report.records, paths[-1], subtitle=_describe_setup(report))
    return paths


def format_markdown(report: Report) -> str:
    """One table per model, with what it was measured on and what the columns mean."""
    products = ", ".join(
        f"{value:.1f} GMAC/s in {name}" for name, value in report.ceilings.gmacs_per_second.items()
    )
    lines = [
        f"Measured on {_describe_setup(report)}. Written by `{report.command}`.",
        "",
        f"Ceilings: matrix product {products}; copy {report.ceilings.copy_gb_per_second:.1f} GB/s.",
        "",
    ]
    if not report.is_complete:
        lines += ["**Stopped before its end: models are missing.**", ""]
    for name in dict.fromkeys(record.model for record in report.records):
        lines += _format_model([record for record in report.records if record.model == name])
    lines += [
        "Milliseconds are per frame (per clip for the clip network), for the whole batch; per "
        "second counts frames (clips) of all videos, over bursts. *clip ÷ this* and *peer ÷ this* "
        "divide median latencies at the same batch size. *times floor* is the latency as a "
        "multiple of the time that a matrix product with as many multiply-accumulates takes.",
        "",
    ]
    return "\n".join(lines)


def _format_model(records: Sequence[Record]) -> list[str]:
    first = records[0]
    macs = {record.what: record.macs_per_prediction for record in records}
    converted = [one.convert_seconds for one in records if one.convert_seconds is not None]
    alignment = ["---"] * LEFT_COLUMNS + ["---:"] * (len(HEADINGS) - LEFT_COLUMNS)
    return [
        f"### {first.model}",
        "",
        f"{first.size_px} px, {first.rate} rate, {first.parameters / 1e6:.2f} M parameters; "
        f"MACs per prediction: clip {macs['clip'] / 1e6:,.0f} M, step {macs['step'] / 1e6:,.0f} M "
        f"({macs['clip'] / macs['step']:.1f} times fewer); converted in {converted[0]:.1f} s.",
        "",
        _join(HEADINGS),
        _join(alignment),
        *(_join(_format_cells(record)) for record in records),
        "",
    ]


def _format_cells(record: Record) -> list[str]:
    latency = record.latency
    return [
        record.what,
        record.backend,
        record.precision,
        str(record.batch),
        f"{latency.median_ms:.2f}",
        f"{latency.p95_ms:.2f}",
        f"{latency.p99_ms:.2f}",
        f"{latency.mean_ms:.2f} ± {latency.std_ms:.2f}",
        f"{latency.throughput_mean:.1f} ± {latency.throughput_std:.1f}",
        _format_ratio(record.speedup_over_clip),
        _format_ratio(record.speedup_over_peer),
        _format_ratio(record.times_the_floor),
        f"{record.state_bytes / 1e6:.2f}" if record.state_bytes else "-",
        f"{record.open_seconds:.1f}" if record.what != "clip" else "-",
    ]


def _format_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _describe_setup(report: Report) -> str:
    return f"{report.hardware}, {report.threads} threads, torch {report.versions['torch']}"
