"""`co3d check`: proof that steps equal clips on the user's own network."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from co3d.cli.networks import open_network
from co3d.cli.options import ConversionOptions
from co3d.errors import OptionError
from co3d.parity import Verification, verify
from co3d.parity.verify import Report

SHOWN = 10


def check_network(
    options: ConversionOptions,
    *,
    lengths: str | None,
    precision: str,
    show_all: bool,
    as_json: bool,
) -> None:
    """Compare steps with clips and print what was found.

    Args:
        options: the network.
        lengths: of further clips, "9,21".
        precision: "float64" or "float32".
        show_all: list every value instead of those that differ most.
        as_json: print one JSON object instead.

    Raises:
        ParityError: steps differ from clips; what was found is printed before.
        ConversionError: the network cannot be converted.
        OptionError: an option out of range.
    """
    wanted = _parse_lengths(lengths)
    model, shapes = open_network(options)
    with _progress() as report:
        found = verify(
            model,
            shapes,
            lengths=wanted,
            window=options.window,
            rate=options.rate,
            scope=options.scope,
            fallback=options.fallback,
            spread=options.spread,
            precision=precision,
            report=report,
        )
    if as_json:
        print(json.dumps(_describe(found, options.network), indent=2))
    else:
        _print(Console(), found, show_all=show_all)
    found.require()


def _parse_lengths(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(length) for length in text.split(",")]
    except ValueError:
        raise OptionError(f"cannot read --lengths {text!r}: expected numbers, e.g. 9,21") from None


@contextmanager
def _progress() -> Iterator[Report]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as display:
        tasks = {"converting": display.add_task("converting", total=1)}

        def report(what: str, done: int, total: int) -> None:
            display.update(tasks["converting"], completed=1)
            if what not in tasks:
                tasks[what] = display.add_task(what)
            display.update(tasks[what], completed=done, total=total)

        yield report


def _describe(found: Verification, network: str) -> dict[str, object]:
    first = found.first_mismatch
    return {
        "network": network,
        "passed": found.passed,
        "first_mismatch": None if first is None else first.name,
        "precision": found.precision,
        "tolerance": found.tolerance,
        "lengths": list(found.lengths),
        "output_difference": found.output_difference,
        "steady_difference": found.steady_difference,
        "model_difference": found.model_difference,
        "approximations": list(found.program.approximations),
        "fallbacks": list(found.program.fallbacks),
        "notes": list(found.notes),
        "values": [dataclasses.asdict(value) for value in found.values],
    }


def _print(console: Console, found: Verification, *, show_all: bool) -> None:
    worst = sorted(found.values, key=lambda value: -value.difference)
    shown = found.values if show_all else worst[:SHOWN]
    title = "every value" if show_all else f"the {len(shown)} values that differ most"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("value", "module", "operator"):
        table.add_column(heading, overflow="fold")
    for heading in ("elements", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for value in shown:
        style = "" if value.difference <= found.tolerance else "bold red"
        cells = (value.name, value.module_path, value.operator)
        table.add_row(*cells, str(value.elements), f"{value.difference:.1e}", style=style)
    console.print(table)
    elements = sum(value.elements for value in found.values)
    lengths = ", ".join(map(str, found.lengths))
    lines = [
        f"{len(found.values)} values, {elements} elements, on clips of {lengths} frames, "
        f"{found.precision}; at most {found.tolerance:g} is rounding",
        f"finished program against clip network: {found.output_difference:.1e}",
        f"graphs without masks against graphs with masks: {found.steady_difference:.1e}",
        _describe_model_difference(found),
        *found.notes,
    ]
    lines += [f"rerun on the newest clip: {line}" for line in found.program.fallbacks]
    if found.passed:
        lines.append("steps equal clips")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _describe_model_difference(found: Verification) -> str:
    count = len(found.program.approximations)
    text = f"simplified clip network against the model: {found.model_difference:.1e}"
    if not count:
        return text
    return f"{text}, by {count} approximation{'s' * (count > 1)} that `co3d explain` lists"
