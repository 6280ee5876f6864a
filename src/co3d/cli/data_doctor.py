"""`co3d data doctor`: examine a data set, print the faults, write report and clean manifest."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from co3d.cli.data_choice import DataChoice
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.progress import open_progress
from co3d.console import Console, warn
from co3d.datasets.doctor import (
    AccuracyBounds,
    Diagnosis,
    Examination,
    bound_accuracy,
    diagnose,
    examine_all,
)
from co3d.datasets.doctor.diagnosis import KINDS
from co3d.datasets.doctor.picture import draw_statistics
from co3d.datasets.layouts import ALL, open_dataset
from co3d.datasets.manifest import Manifest
from co3d.environment import logs_path
from co3d.errors import DataError, OptionError, OutputError
from co3d.files import output_file
from co3d.printable import dump_json
from co3d.sandbox import Sandbox

LOG, REPORT, PICTURE, CLEAN = "log.jsonl", "report.json", "statistics.png", "clean.jsonl"
PROBLEMS_SHOWN = 20
CLASSES_SHOWN, CLASSES_LISTED = 5, 20
METHOD = (
    "worst: all lost videos wrong, or all right (Manski bounds). at_random: Wilson's 95 % score "
    "interval with finite-population correction, if losses and mistakes are independent. "
    "sampling: Wilson's 95 % score interval of the usable videos as a sample of all of their kind."
)


@dataclass(frozen=True)
class DoctorOptions:
    """The options of `co3d data doctor`, as the command line gives them."""

    path: Path
    layout: str
    split: str | None
    classes: str | None
    choice: DataChoice
    output: Path | None
    workers: int | None
    accuracy: float
    as_json: bool
    sandbox: bool = True


def run_doctor(options: DoctorOptions) -> int:
    """Examine and report; returns the exit code: 0, or 130 when stopped before the end.

    Raises:
        DataError: there is no data set at the path, or no usable video in it.
        OptionError: an option is out of range.
        OutputError: a result cannot be written.
    """
    workers = options.workers or os.cpu_count() or 1
    if workers < 1 or not 0 <= options.accuracy <= 1:
        raise OptionError(
            f"cannot examine with {workers} workers and an accuracy of {options.accuracy}: "
            "expected 1 or more, and 0 to 1"
        )
    manifest = open_dataset(
        options.path,
        layout=options.layout,
        split=options.split or ALL,
        classes=options.classes,
        **options.choice.list_keywords(options.choice.label_names),
    )
    folder = options.output or logs_path() / "doctor" / _name(options)
    _refuse_inside(folder, manifest.root)
    found: dict[str, Examination] = {}
    sandbox = Sandbox() if options.sandbox else None
    try:
        with open_progress() as progress:
            paths = {entry.path for entry in manifest.entries}
            task = progress.add_task("decoding", total=len(paths))
            found = examine_all(
                manifest, folder / LOG, workers, lambda _: progress.advance(task), sandbox
            )
    except KeyboardInterrupt:
        warn(f"stopped; run the same command to continue from {folder / LOG}")
        return STOPPED
    finally:
        if sandbox is not None:
            sandbox.close()
    diagnosis = diagnose(manifest, found)
    usable = len(diagnosis.clean.entries)
    bounds = bound_accuracy(len(manifest.entries), usable, options.accuracy)
    report = _describe(manifest, found, diagnosis, bounds)
    with output_file(folder / REPORT) as temporary:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, "utf-8", errors="backslashreplace")
    diagnosis.clean.save(folder / CLEAN)
    draw_statistics(folder / PICTURE, _name(options), len(manifest.entries), found, diagnosis)
    if options.as_json:
        print(dump_json(report))
    else:
        _print(report, diagnosis, [folder / name for name in (REPORT, CLEAN, PICTURE, LOG)])
    if not usable:
        raise DataError(
            f"cannot use {options.path}: got no usable video of {len(manifest.entries)} listed; "
            f"see {folder / REPORT}, and check the path and the annotations"
        )
    return SUCCESS


def _name(options: DoctorOptions) -> str:
    name = options.path.resolve().stem
    return f"{name}-{options.split}" if options.split else name


def _refuse_inside(folder: Path, root: Path) -> None:
    """Refuse to write into the data set."""
    if folder.resolve().is_relative_to(root.resolve()):
        raise OutputError(
            f"cannot write to {folder}: it lies in the data set {root}, which stays as it is; "
            "choose another folder with --output"
        )


def _describe(
    manifest: Manifest,
    found: Mapping[str, Examination],
    diagnosis: Diagnosis,
    bounds: AccuracyBounds,
) -> dict[str, Any]:
    """The content of the JSON report."""
    pairs = {(problem.video_id, problem.kind) for problem in diagnosis.problems}
    counts = Counter(kind for _, kind in pairs)
    decoded = [seen for seen in found.values() if seen.frames]
    losses = {name: share for name, share in diagnosis.lost_by_class.items() if share}
    shown = manifest.count_labels()
    return {
        "root": str(manifest.root),
        "listed": bounds.listed,
        "usable": bounds.usable,
        "classes": len(manifest.class_names),
        "videos_by_class": {name: shown.get(name, 0) for name in manifest.class_names},
        "unlabelled": sum(not entry.labels for entry in manifest.entries),
        "splits": {name or "": count for name, count in manifest.splits.items()},
        "counts": {kind: counts[kind] for kind in KINDS},
        "accuracy": {**asdict(bounds), "method": METHOD},
        "lost_by_class": dict(sorted(losses.items(), key=lambda item: -item[1])),
        "statistics": {
            "frames": sum(seen.frames for seen in decoded),
            "rate_hz": _summarise([seen.rate_hz for seen in decoded if seen.rate_hz]),
            "seconds": _summarise([seen.seconds for seen in decoded if seen.seconds]),
            "short_side_px": _summarise([min(seen.width, seen.height) for seen in decoded]),
            "variable_rate": sum(seen.is_variable for seen in decoded),
            "sizes": dict(Counter(f"{seen.width}x{seen.height}" for seen in decoded).most_common()),
        },
        "problems": [asdict(problem) for problem in diagnosis.problems],
    }


def _summarise(values: list[float] | list[int]) -> dict[str, float]:
    if not values:
        return {}
    low, median, high = np.percentile(values, (0, 50, 100)).tolist()
    return {"min": low, "median": median, "max": high}


def _print(report: dict[str, Any], diagnosis: Diagnosis, written: list[Path]) -> None:
    console = Console(highlight=False)
    table = Table(title="entries", title_justify="left")
    for heading in ("", "videos"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("listed", str(report["listed"]))
    for kind, count in report["counts"].items():
        table.add_row(kind, str(count), style="" if count else "dim")
    table.add_row("in the clean manifest", str(report["usable"]), style="bold")
    console.print(table)
    _print_classes(console, report)
    for problem in diagnosis.problems[:PROBLEMS_SHOWN]:
        where = "" if problem.path in problem.detail else f"{problem.path}: "
        console.print(
            Text.assemble((f"{problem.kind}: ", "bold"), where, problem.detail), soft_wrap=True
        )
    more = len(diagnosis.problems) - PROBLEMS_SHOWN
    if more > 0:
        console.print(f"and {more} more in the report", style="dim")
    _print_statistics(console, report)
    accuracy = report["accuracy"]
    share = accuracy["accuracy"]
    console.print(
        f"If the accuracy on the {report['usable']} usable videos is {share:.1%}, then on all "
        f"{report['listed']} it is\n"
        f"  {_interval(accuracy['worst'])} in any case (lost videos all wrong, all right);\n"
        f"  {_interval(accuracy['at_random'])} if they are lost at random (95 %, Wilson, finite "
        "population);\n"
        f"  {_interval(accuracy['sampling'])} for all videos of their kind, sampled by these "
        "(95 %, Wilson)."
    )
    for path in written:
        console.print(Text.assemble(("wrote ", "dim"), str(path)), soft_wrap=True)


def _print_classes(console: Console, report: dict[str, Any]) -> None:
    """Print the number of videos of each split and class; of many classes only the smallest."""
    if any(report["splits"]):
        splits = ", ".join(f"{name or 'none'} {n}" for name, n in report["splits"].items())
        console.print(f"splits: {splits}", markup=False, soft_wrap=True)
    counts = report["videos_by_class"]
    smallest = sorted(counts.items(), key=lambda item: item[1])
    few = len(counts) <= CLASSES_LISTED
    listed = counts.items() if few else smallest[:CLASSES_SHOWN]
    text = ", ".join(f"{name} {count}" for name, count in listed)
    if counts and not few:
        text = f"from {smallest[0][1]} to {smallest[-1][1]} videos each, the fewest: {text}"
    unlabelled = f"; without a label {report['unlabelled']}" if report["unlabelled"] else ""
    noun = "class" if len(counts) == 1 else "classes"
    console.print(f"{len(counts)} {noun}: {text}{unlabelled}", markup=False, soft_wrap=True)


def _print_statistics(console: Console, report: dict[str, Any]) -> None:
    statistics = report["statistics"]
    for name, unit in (("rate_hz", "frames/s"), ("seconds", "s"), ("short_side_px", "px")):
        if values := statistics[name]:
            console.print(
                f"{unit}: median {values['median']:.4g}, from {values['min']:.4g} to "
                f"{values['max']:.4g}"
            )
    if statistics["variable_rate"]:
        console.print(f"{statistics['variable_rate']} videos have a variable frame rate")
    worst = list(report["lost_by_class"].items())[:CLASSES_SHOWN]
    if worst:
        losses = ", ".join(f"{name} {share:.0%}" for name, share in worst)
        console.print(f"classes that lost most: {losses}")


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.1%} to {bounds[1]:.1%}"
