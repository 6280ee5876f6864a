"""`co3d check` without backends: proof that steps equal clips on the user's own network."""

import dataclasses
import json

from rich.table import Table

from co3d.cli.networks import open_network
from co3d.cli.options import CheckOptions, ConversionOptions
from co3d.cli.steps import show_steps
from co3d.console import Console
from co3d.errors import OptionError
from co3d.models.file_networks import redirect_prints
from co3d.parity import Verification, verify

SHOWN = 10


def prove_steps(options: ConversionOptions, chosen: CheckOptions) -> None:
    """Compare steps with clips and print the result.

    Raises:
        ParityError: steps differ from clips; raised after the result is printed.
        ConversionError: the network cannot be converted.
        OptionError: an option out of range.
    """
    wanted, names = _parse_lengths(chosen.lengths), chosen.precisions or ["float64"]
    if len(names) > 1:
        raise OptionError(
            f"cannot prove in several precisions at once: got {', '.join(names)}, expected float64 "
            "or float32; to compare precisions on real streams, add --backend"
        )
    model, shapes = open_network(options)
    with show_steps() as report, redirect_prints():
        found = verify(
            model,
            shapes,
            lengths=wanted,
            **options.keywords,
            precision=names[0],
            report=report,
        )
    if chosen.as_json:
        print(json.dumps(_describe(found, options.network), indent=2))
    else:
        _print(Console(), found, show_all=chosen.show_all)
    found.require()


def _parse_lengths(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(length) for length in text.split(",")]
    except ValueError:
        raise OptionError(f"cannot read --lengths {text!r}: expected numbers, e.g. 9,21") from None


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
        "edges_difference": found.edges_difference,
        "simplified_difference": found.simplified_difference,
        "model_difference": found.model_difference,
        "approximations": list(found.program.approximations),
        "fallbacks": list(found.program.fallbacks),
        "notes": list(found.notes),
        "values": [dataclasses.asdict(value) for value in found.values],
    }


def _print(console: Console, found: Verification, *, show_all: bool) -> None:
    worst = sorted(found.values, key=lambda value: -value.difference)
    shown = found.values if show_all else worst[:SHOWN]
    title = "the values that differ most"
    if show_all or len(shown) == len(found.values):
        title = "every value"
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
    lengths, outputs = ", ".join(map(str, found.lengths)), found.output_difference
    lines = [
        f"{len(found.values)} values, {elements} elements, on clips of {lengths} frames, "
        f"{found.precision}; at most {found.tolerance:g} is rounding",
        "finished program against clip network: "
        + ("not compared" if outputs is None else f"{outputs:.1e}"),
        f"graphs for other edges against these: {found.edges_difference:.1e}",
        f"simplified clip network against the model: {found.simplified_difference:.1e}",
    ]
    if count := len(found.program.approximations):
        lines.append(
            f"{count} approximation{'s' * (count > 1)}, which `co3d explain` lists, "
            f"move{'s' * (count == 1)} the outputs on these clips by {found.model_difference:.1e}"
        )
    lines += [f"rerun on the newest clip: {line}" for line in found.program.fallbacks]
    lines += [f"note: {note}" for note in found.notes]
    if found.passed:
        lines.append("steps equal clips" + (" where compared" if outputs is None else ""))
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
