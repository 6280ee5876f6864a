"""`co3d data prepare`: write a manifest of a data set and, if requested, copies of its videos."""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.text import Text

from co3d.cli.data_choice import DataChoice
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.progress import open_progress
from co3d.console import Console
from co3d.datasets.layouts import ALL, open_dataset
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.prepare import Form, Recipe, copy_video, plan_copies
from co3d.errors import Co3dError, DataError, OptionError, OutputError
from co3d.files import make_folder, output_file

MANIFEST, RECIPE, LEFT_OUT = "manifest.jsonl", "recipe.json", "left_out.jsonl"
SHOWN = 10


@dataclass(frozen=True)
class PrepareOptions:
    """The options of `co3d data prepare`, as the command line gives them; form None: no copies."""

    path: Path
    output: Path
    layout: str
    split: str | None
    classes: str | None
    choice: DataChoice
    form: Form | None
    short_side_px: int | None
    rate_hz: float | None
    workers: int | None
    strict: bool
    as_json: bool


def run_prepare(options: PrepareOptions) -> int:
    """Write manifest and copies; returns the exit code: 0, or 130 when stopped before the end.

    Raises:
        DataError: there is no such data set, or in strict mode, a video cannot be copied.
        OptionError: an option is out of range.
        OutputError: the folder holds other copies, or cannot be written.
    """
    if options.form is None and (options.short_side_px or options.rate_hz):
        raise OptionError("cannot scale or sample without copies: add --to video or --to frames")
    workers = options.workers or os.cpu_count() or 1
    if workers < 1:
        raise OptionError(f"cannot copy with {workers} workers: expected 1 or more")
    manifest = open_dataset(
        options.path,
        layout=options.layout,
        split=options.split or ALL,
        classes=options.classes,
        **options.choice.list_keywords(options.choice.label_names),
    )
    output = options.output
    if output.resolve().is_relative_to(manifest.root.resolve()):
        raise OutputError(
            f"cannot write to {output}: it lies in the data set {manifest.root}, which stays as it "
            "is; choose another folder"
        )
    make_folder(output)
    left_out: list[tuple[VideoEntry, str]] = []
    if options.form is not None:
        recipe = Recipe(options.form, options.short_side_px, options.rate_hz)
        _claim(output, manifest, recipe)
        try:
            manifest, left_out = _copy_all(manifest, output, recipe, workers, options.strict)
        except KeyboardInterrupt:
            print("stopped; run the same command to continue, copies are kept", file=sys.stderr)
            return STOPPED
    manifest.save(output / MANIFEST)
    lines = [
        {"video_id": entry.video_id, "path": entry.path, "reason": why} for entry, why in left_out
    ]
    if options.form is not None:
        with output_file(output / LEFT_OUT) as temporary:
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            temporary.write_text(text, "utf-8", errors="backslashreplace")
    _print(options, manifest, lines)
    return SUCCESS


def _claim(output: Path, manifest: Manifest, recipe: Recipe) -> None:
    """Record the source and recipe of the folder's copies; refuse to mix two kinds."""
    text = json.dumps({"root": str(manifest.root.resolve()), **asdict(recipe)}, indent=2) + "\n"
    place = output / RECIPE
    if place.exists():
        if place.read_text("utf-8") != text:
            raise OutputError(
                f"cannot copy to {output}: it holds copies of another set or kind, see {place}; "
                "choose another folder"
            )
        return
    with output_file(place) as temporary:
        temporary.write_text(text, "utf-8")


def _copy_all(
    manifest: Manifest, output: Path, recipe: Recipe, workers: int, strict: bool
) -> tuple[Manifest, list[tuple[VideoEntry, str]]]:
    """Make the missing copies; returns the manifest of all copies, and failures with reasons."""
    copies = plan_copies(manifest, output, recipe.form)
    jobs = iter(list(zip(manifest.entries, copies.entries, strict=True)))
    rates: dict[str, float] = {}
    failed: dict[str, tuple[VideoEntry, str]] = {}
    waiting: dict[Future[float], tuple[VideoEntry, VideoEntry]] = {}
    with open_progress() as progress, ThreadPoolExecutor(workers) as pool:
        task = progress.add_task("copying", total=len(copies.entries))
        try:
            while True:
                while len(waiting) < 2 * workers and (job := next(jobs, None)):
                    call = (manifest.resolve(job[0]), job[0], copies.resolve(job[1]), recipe)
                    waiting[pool.submit(copy_video, *call)] = job
                if not waiting:
                    break
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    entry, copy = waiting.pop(done)
                    try:
                        rates[copy.video_id] = done.result()
                    except OutputError:
                        raise
                    except Co3dError as error:
                        if strict:
                            raise DataError(
                                f"cannot copy the video {entry.video_id}: {error}"
                            ) from error
                        failed[copy.video_id] = (entry, str(error))
                    progress.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    kept = tuple(_with_rates(copies.entries, rates, recipe))
    return replace(copies, entries=kept), [
        failed[entry.video_id] for entry in copies.entries if entry.video_id in failed
    ]


def _with_rates(
    entries: tuple[VideoEntry, ...], rates: dict[str, float], recipe: Recipe
) -> Iterator[VideoEntry]:
    for entry in entries:
        if entry.video_id in rates:
            rate_hz = rates[entry.video_id] if recipe.form == "frames" else None
            yield replace(entry, rate_hz=rate_hz)


def _print(options: PrepareOptions, manifest: Manifest, lines: list[dict[str, str]]) -> None:
    if options.as_json:
        place = str(options.output / MANIFEST)
        print(json.dumps({"manifest": place, "videos": len(manifest.entries), "left_out": lines}))
        return
    console = Console(highlight=False)
    for line in lines[:SHOWN]:
        console.print(Text.assemble(("left out: ", "bold"), line["reason"]), soft_wrap=True)
    if len(lines) > SHOWN:
        console.print(f"and {len(lines) - SHOWN} more in {LEFT_OUT}", style="dim")
    console.print(f"{len(manifest.entries)} videos, {len(lines)} left out", soft_wrap=True)
    console.print(Text.assemble(("wrote ", "dim"), str(options.output / MANIFEST)), soft_wrap=True)
