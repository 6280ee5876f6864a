"""A benchmark as JSON, as Markdown tables and as a picture."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from co3d.benchmark.ceilings import Ceilings
from co3d.benchmark.picture import draw_picture
from co3d.benchmark.records import CLIP, FASTEST_CLIP, SAME_CLIP, Record
from co3d.files import make_folder, output_file

SCHEMA_VERSION = 4
BASE_NAME = "bench"
LEFT_COLUMNS = 3
EXPLANATION = (
    "Milliseconds are per frame (per clip for a clip network), for the whole batch; per second "
    "counts frames (clips) of all videos, over bursts. *clip ÷ this* and the like divide median "
    "times for a prediction at the same batch size. *times product* is the latency as a multiple "
    "of the time that a matrix product with as many multiply-accumulates takes, *times copy* of "
    "the time to read weights, state and frames at the speed of a copy."
)
NATIVE_EXPLANATION = (
    " At native rate a prediction takes several frames, whose steps differ: a sample, and so p95 "
    "and p99, is their mean."
)
MEMORY_EXPLANATION = (
    " *peak MB* is the most memory of a process that does only this, from its start: of a step "
    "with conversion and compilation."
)
CUDA_MEMORY_EXPLANATION = (
    " *peak MB* is the most memory of the device that PyTorch had allocated in a process that does "
    "only this, compilation included; what the driver takes for itself comes on top."
)
ENERGY_EXPLANATION = (
    " *mJ* is the energy of a prediction: what the processor's package, or the card, drew "
    "meanwhile, what it draws when idle and for other programs included."
)


@dataclass(frozen=True)
class Report:
    """All results of one run of the benchmark.

    Attributes:
        command: repeats the run.
        date: when it ended, ISO 8601.
        device: torch device of the run.
        hardware: that device if it is not the CPU, the processor and the number of cores.
        threads: that the CPU backends used.
        versions: package -> version.
        ceilings: of each model's rounds, in the order of the records.
        remarks: what could not be measured, and why.
        is_complete: False if the run was stopped; unfinished models are left out.
    """

    command: str
    date: str
    device: str
    hardware: str
    threads: int
    versions: dict[str, str]
    ceilings: dict[str, Ceilings]
    records: tuple[Record, ...]
    remarks: tuple[str, ...]
    is_complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}

    def as_json(self) -> str:
        """JSON, indented."""
        return json.dumps(self.as_dict(), indent=2) + "\n"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write bench.json, bench.md and bench.svg, each completely or not at all.

    Args:
        report: what was measured.
        folder: created if absent.

    Returns:
        The paths that were written.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    make_folder(folder)
    paths = [folder / f"{BASE_NAME}{suffix}" for suffix in (".json", ".md", ".svg")]
    for path, text in zip(paths, (report.as_json(), format_markdown(report)), strict=False):
        with output_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    draw_picture(report.records, paths[-1], subtitle=_describe_setup(report))
    return paths


def format_markdown(report: Report) -> str:
    """One table per model, with the setup and the meaning of the columns."""
    lines = [
        f"Measured on {_describe_setup(report)}, {report.date[:10]}. Written by "
        f"`{report.command}`.",
        "",
    ]
    if not report.is_complete:
        lines += ["**Stopped before its end: models are missing.**", ""]
    if report.remarks:
        lines += ["Not measured:", "", *(f"- {remark}" for remark in report.remarks), ""]
    for name in dict.fromkeys(record.model for record in report.records):
        records = [record for record in report.records if record.model == name]
        lines += _format_model(records, report.ceilings[name])
    has_peaks = any(record.peak_bytes is not None for record in report.records)
    has_energy = any(record.joules_per_prediction is not None for record in report.records)
    has_periods = any(record.frames_per_prediction > 1 for record in report.records)
    is_cuda = torch.device(report.device).type == "cuda"
    memory = CUDA_MEMORY_EXPLANATION if is_cuda else MEMORY_EXPLANATION
    explanations = [
        EXPLANATION,
        NATIVE_EXPLANATION if has_periods else "",
        memory if has_peaks else "",
        ENERGY_EXPLANATION if has_energy else "",
    ]
    lines += ["".join(explanations), ""]
    return "\n".join(lines)


def _format_model(records: Sequence[Record], ceilings: Ceilings) -> list[str]:
    first = records[0]
    rows = [_list_cells(record, _references(records)) for record in records]
    columns = [
        heading
        for heading in rows[0]
        if (heading != "peak MB" or any(one.peak_bytes is not None for one in records))
        and (heading != "mJ" or any(one.joules_per_prediction is not None for one in records))
    ]
    alignment = ["---"] * LEFT_COLUMNS + ["---:"] * (len(columns) - LEFT_COLUMNS)
    lines = [
        f"### {first.model}",
        "",
        f"{first.clip_frames} frames of {first.size_px} px, {first.rate} rate, "
        f"{first.parameters / 1e6:.2f} M parameters; {_describe_work(records)}.",
        "",
    ]
    if accuracy := first.published_accuracy:
        values = ", ".join(f"{measure} {percent:g} %" for measure, percent in accuracy.items())
        lines += [f"Published accuracy: {values}.", ""]
    products = "".join(
        f"matrix product {value:.1f} GMAC/s in {name} "
        f"(p99 {ceilings.p99_ratio[name]:.2f} x median), "
        for name, value in ceilings.gmacs_per_second.items()
    )
    lines += [
        f"Ceilings, in the same rounds: {products}copy {ceilings.copy_gb_per_second:.1f} GB/s.",
        "",
    ]
    return [
        *lines,
        _join(columns),
        _join(alignment),
        *(_join([row[heading] for heading in columns]) for row in rows),
        "",
    ]


def _describe_work(records: Sequence[Record]) -> str:
    """Multiply-accumulates of clip and step; one may be missing for lack of memory."""
    clip = next((one for one in records if one.what == "clip"), None)
    step = next((one for one in records if one.what == "step" and one.peer is None), None)
    counts = [] if clip is None else [f"clip {clip.macs_per_prediction / 1e6:,.0f} M"]
    if step is None:
        return f"MACs per prediction: {', '.join(counts)}"
    steps = "step" if step.frames_per_prediction == 1 else f"{step.frames_per_prediction} steps"
    counts.append(f"{steps} {step.macs_per_prediction / 1e6:,.0f} M")
    if clip is not None:
        ratio = clip.macs_per_prediction / step.macs_per_prediction
        counts[-1] += f" ({ratio:.1f} times fewer)"
    converted = f"converted in {step.convert_seconds or 0:.1f} s"
    return f"MACs per prediction: {', '.join(counts)}; {converted}"


def _references(records: Sequence[Record]) -> list[str]:
    """The records that others are compared with: the clip network and the peers."""
    peers = (record.peer for record in records if record.peer is not None)
    # If the eager clip network is the only one, it is also the fastest.
    others = SAME_CLIP in {name for record in records for name in record.speedups}
    ours = (SAME_CLIP, FASTEST_CLIP) if others else ()
    return list(dict.fromkeys((CLIP, *ours, *peers)))


def _list_cells(record: Record, references: Sequence[str]) -> dict[str, str]:
    """Heading -> cell of a row."""
    latency = record.latency
    return {
        "what": record.what,
        "run by": record.backend,
        "precision": record.precision,
        "batch": str(record.batch),
        "median ms": f"{latency.median_ms:.2f}",
        "p95": f"{latency.p95_ms:.2f}",
        "p99": f"{latency.p99_ms:.2f}",
        "mean ± std": f"{latency.mean_ms:.2f} ± {latency.std_ms:.2f}",
        "per second": f"{latency.throughput_mean:.1f} ± {latency.throughput_std:.1f}",
        **{f"{name} ÷ this": _format_ratio(record.speedups.get(name)) for name in references},
        "times product": _format_ratio(record.times_the_product),
        "times copy": _format_ratio(record.times_the_copy),
        "state MB": _format_megabytes(record.state_bytes or None, 2),
        "peak MB": _format_megabytes(record.peak_bytes, 0),
        "mJ": _format_millijoules(record.joules_per_prediction),
        "open s": f"{record.open_seconds:.1f}" if record.open_seconds else "-",
    }


def _format_megabytes(size_bytes: int | None, decimals: int) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 1e6:.{decimals}f}"


def _format_millijoules(joules: float | None) -> str:
    return "-" if joules is None else f"{1e3 * joules:.1f}"


def _format_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _describe_setup(report: Report) -> str:
    return f"{report.hardware}, {report.threads} threads, torch {report.versions['torch']}"
