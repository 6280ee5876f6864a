"""`co3d bench`: speed of step programs against their clip networks and other libraries."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from co3d.benchmark.ceilings import Ceilings
from co3d.benchmark.energy import open_meter
from co3d.benchmark.machine import describe_hardware, list_versions
from co3d.benchmark.records import Record, measure_model
from co3d.benchmark.report import Report, write_report
from co3d.benchmark.selection import Selection, select_peers
from co3d.cli.bench_table import print_report
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.interrupts import interrupt_on_signals
from co3d.cli.options import split_names
from co3d.compiler.program import Rate
from co3d.console import Console
from co3d.errors import OptionError
from co3d.models import get_card
from co3d.progress import open_progress
from co3d.runtime.choice import find_device, list_quick_backends, select_engines


@dataclass(frozen=True)
class BenchOptions:
    """The options of `co3d bench`, as the command line gives them.

    Names may be joined by commas.

    Attributes:
        models: registry names.
        backends: empty for all that are installed, run on the device and compile within minutes.
        precisions: of weights, frames and state. batches: numbers of videos that step together.
        peers: other libraries. steps: the least number of timed steps. threads: None for torch's.
        size_px: side of the square frames. clips: whether to time clips on each engine.
        memory: whether to measure peak memory. energy: whether to measure energy.
        output: folder for the report.
        as_json: print JSON instead of tables.
    """

    models: Sequence[str]
    backends: Sequence[str]
    precisions: Sequence[str]
    batches: Sequence[str]
    rate: Rate
    peers: Sequence[str]
    steps: int
    threads: int | None
    size_px: int | None
    clips: bool
    memory: bool
    energy: bool
    device: str
    output: Path | None
    as_json: bool


def run_bench(options: BenchOptions) -> int:
    """Measure, print the result, and write it if an output folder is given.

    Returns:
        The exit code: 130 when a signal stopped it; finished models are reported.

    Raises:
        OptionError, UnknownModelError, InputShapeError, MissingPackageError: an option names what
            does not exist or cannot run.
        OutputError: the folder or a file cannot be written.
    """
    models = split_names(options.models)
    selection = _select(options, models)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    console = Console(stderr=True)
    records: list[Record] = []
    remarks: list[str] = []
    ceilings: dict[str, Ceilings] = {}
    is_complete = False
    try:
        with interrupt_on_signals(), _open_progress() as progress:
            task = progress.add_task("", total=None)
            for name in models:
                progress.reset(task, total=None, description=f"{name}: converting and opening")

                def show(done: int, total: int, name: str = name) -> None:
                    progress.update(task, description=name, completed=done, total=total)

                def remark(text: str) -> None:
                    remarks.append(text)
                    progress.console.print(text, style="yellow", soft_wrap=True)

                found, ceilings[name] = measure_model(name, selection, show, remark)
                records += found
        is_complete = True
    except KeyboardInterrupt:
        console.print("stopped; models that were not finished are left out")
    if not records:
        if is_complete:
            raise OptionError(
                f"cannot measure anything: got {len(remarks)} variants that do not fit into the "
                f"memory of {selection.device}; give a smaller --batch or --size"
            )
        return STOPPED
    report = Report(
        command=_format_command(options, models),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device=selection.device,
        hardware=describe_hardware(torch.device(selection.device)),
        threads=torch.get_num_threads(),
        versions=list_versions(),
        ceilings=ceilings,
        records=tuple(records),
        remarks=tuple(remarks),
        is_complete=is_complete,
    )
    written = [] if options.output is None else write_report(report, options.output)
    if options.as_json:
        print(report.as_json(), end="")
    else:
        print_report(report, Console())
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)
    return SUCCESS if is_complete else STOPPED


def _select(options: BenchOptions, models: Sequence[str]) -> Selection:
    """Check the options before anything is measured."""
    for name in models:
        get_card(name)
    if options.steps < 1:
        raise OptionError(f"cannot measure {options.steps} steps: give --steps 1 or more")
    if options.threads is not None and options.threads < 1:
        raise OptionError(f"cannot use {options.threads} threads: give --threads 1 or more")
    batches = split_names(options.batches)
    if not all(batch.isdecimal() and int(batch) for batch in batches):
        raise OptionError(
            f"cannot measure the batch sizes {', '.join(batches)}: expected whole numbers of at "
            "least 1, such as --batch 1,4"
        )
    device = find_device(options.device)
    if options.energy:
        open_meter(device)  # raises if the machine has no meter
    backends = split_names(options.backends) or list_quick_backends(device.type)
    return Selection(
        engines=select_engines(backends, split_names(options.precisions), device.type),
        batches=tuple(int(batch) for batch in batches),
        rate=options.rate,
        peers=select_peers(split_names(options.peers)),
        steps=options.steps,
        size_px=options.size_px,
        clips=options.clips,
        memory=options.memory,
        energy=options.energy,
        device=str(device),
    )


def _format_command(options: BenchOptions, models: Sequence[str]) -> str:
    """A command that repeats the measurement, without the output options."""
    words = ["co3d", "bench", *models]
    for name, values in (
        ("--backend", options.backends),
        ("--precision", options.precisions),
        ("--batch", options.batches),
        ("--peer", options.peers),
    ):
        if joined := ",".join(split_names(values)):
            words += [name, joined]
    words += ["--rate", options.rate, "--steps", str(options.steps)]
    if options.threads is not None:
        words += ["--threads", str(options.threads)]
    if options.size_px is not None:
        words += ["--size", str(options.size_px)]
    if options.clips:
        words.append("--clips")
    if options.memory:
        words.append("--memory")
    if options.energy:
        words.append("--energy")
    if options.device != "cpu":
        words += ["--device", options.device]
    return shlex.join(words)


def _open_progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return open_progress(*columns, transient=True)
