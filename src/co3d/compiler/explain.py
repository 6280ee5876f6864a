"""Formats the table of temporal types of a step program as text."""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.states import StateKey
from co3d.compiler.temporal import StateSpec

_LARGEST_STATES = 8


@dataclass(frozen=True)
class ValueTiming:
    """One row of the table that `explain` prints: a value of the network and its timing.

    `delay` and `receptive_field` are in input frames, the latter None for all frames since the
    stream's first; `state_bytes` and `macs` are per stream and element, in the precision of the
    converted model. `reads` lists per operand the frames that are read, relative to the frame that
    the value stands for (negative: before it).
    """

    name: str
    module_path: str
    operator: str
    stride: int
    delay: int
    receptive_field: int | None
    state_bytes: int
    macs: int
    reads: tuple[tuple[str, tuple[int, ...]], ...]
    is_pooled: bool


class Explained(Protocol):
    """The attributes of a step program that an explanation needs; see `StepProgram`."""

    @property
    def receptive_field(self) -> int | None: ...  # noqa: D102
    @property
    def delay(self) -> int: ...  # noqa: D102
    @property
    def window(self) -> int | None: ...  # noqa: D102
    @property
    def first_valid_step(self) -> int: ...  # noqa: D102
    @property
    def state_bytes(self) -> int: ...  # noqa: D102
    @property
    def macs_per_frame(self) -> int: ...  # noqa: D102
    @property
    def clip_frames(self) -> int: ...  # noqa: D102
    @property
    def clip_macs(self) -> int: ...  # noqa: D102
    @property
    def recomputed_macs(self) -> int: ...  # noqa: D102
    @property
    def approximations(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def fallbacks(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def rows(self) -> tuple[ValueTiming, ...]: ...  # noqa: D102


def tabulate(analysis: Analysis, states: dict[StateKey, StateSpec]) -> tuple[ValueTiming, ...]:
    """One row per value of the network that depends on the clip."""
    kept: dict[fx.Node, int] = {}
    for (node, _), spec in states.items():
        kept[node] = kept.get(node, 0) + spec.elements * spec.dtype.itemsize
    rows = []
    for node, timing in analysis.types.items():
        lowering = analysis.lowerings.get(node)
        reads: dict[str, list[int]] = {}
        for use in lowering.uses if lowering else ():
            if use.recurrent:
                continue  # a read of its own past, which adds no delay
            offset = timing.delay - use.back - analysis.types[use.node].delay
            reads.setdefault(use.node.name, []).append(offset)
        rows.append(
            ValueTiming(
                name=node.name,
                module_path=node.meta["origin"].module_path,
                operator="input" if lowering is None else _operator_name(node),
                stride=timing.stride,
                delay=timing.delay,
                receptive_field=timing.receptive_field,
                state_bytes=kept.get(node, 0),
                macs=0 if lowering is None else lowering.macs,
                reads=tuple((name, tuple(offsets)) for name, offsets in reads.items()),
                is_pooled=timing.is_pooled,
            )
        )
    return tuple(rows)


def _operator_name(node: fx.Node) -> str:
    name = getattr(node.target, "__name__", str(node.target))
    return str(node.target).removeprefix("aten.") if "." in str(node.target) else name


def format_program(program: Explained) -> str:
    """One line per value, then the program's figures, approximations and sources of delay."""
    header = ("value", "module", "operator", "stride", "delay", "field", "state kB", "kMACs")
    table = [header] + [
        (
            row.name,
            row.module_path,
            row.operator.removesuffix(".default"),
            str(row.stride),
            str(row.delay),
            "all" if row.receptive_field is None else str(row.receptive_field),
            f"{row.state_bytes / 1e3:.1f}" if row.state_bytes else "",
            f"{row.macs / 1e3:,.1f}" if row.macs else "",
        )
        for row in program.rows
    ]
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    lines = []
    for line in table:
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        # One space suffices between right-aligned numbers.
        lines.append(" ".join(("  ".join(cells[:3]), *cells[3:])).rstrip())
    lines += ["", *format_figures(program)]
    lines += ["", *format_sources(program)]
    return "\n".join(lines)


def format_figures(program: Explained) -> list[str]:
    """The program's summary figures, a line each."""
    ratio = program.clip_macs / max(program.macs_per_frame, 1)
    lines = [
        f"receptive field {_describe_field(program.receptive_field)}, delay {program.delay}, "
        f"window {program.window or 'none'}, first valid step {program.first_valid_step}",
        f"state {program.state_bytes / 1e6:.2f} MB per stream",
        f"{program.macs_per_frame / 1e6:,.1f} M MACs per frame; a clip of "
        f"{program.clip_frames} frames {program.clip_macs / 1e6:,.1f} M, {ratio:.1f} times as many",
    ]
    strides = {row.name: row.stride for row in program.rows}
    enlarged = [
        f"{_place(row)} (stride {coarsest} to {row.stride})"
        for row in program.rows
        if row.reads and (coarsest := min(strides[name] for name, _ in row.reads)) > row.stride
    ]
    if enlarged:
        lines.append(
            f"time is enlarged again by {', '.join(enlarged)}: each step makes the elements that "
            "are due"
        )
    if program.fallbacks:
        share = 100 * program.recomputed_macs / max(program.macs_per_frame, 1)
        lines.append(
            f"{program.recomputed_macs / 1e6:,.1f} M MACs per frame ({share:.0f} %) are rerun on "
            "the newest clip, from these operators on:"
        )
        lines += [f"  {line}" for line in program.fallbacks]
    if program.approximations:
        lines.append(f"{len(program.approximations)} approximations:")
        lines += [f"  {line}" for line in program.approximations]
    else:
        lines.append("no approximations: steps equal the clip network")
    return lines


def find_delay_sources(program: Explained) -> list[tuple[ValueTiming, int]]:
    """The values on the critical path of the delay, in order, each with the frames that it adds.

    Their frames add up to the program's delay unless outputs wait for each other.
    """
    rows = {row.name: row for row in program.rows}
    row = max(reversed(program.rows), key=lambda row: row.delay)
    sources = []
    while row.reads:
        # Follow the operand that is ready last.
        name = max(row.reads, key=lambda read: rows[read[0]].delay + max(read[1]))[0]
        if row.delay > rows[name].delay:
            sources.append((row, row.delay - rows[name].delay))
        row = rows[name]
    return sources[::-1]


def format_sources(program: Explained) -> list[str]:
    """The sources of delay and of state, a line each."""
    sources = [f"{_place(row)} {frames}" for row, frames in find_delay_sources(program)]
    lines = [f"delay from: {', '.join(sources) or 'nothing'} (frames)"]
    kept = Counter[str]()
    for row in program.rows:
        if row.state_bytes:
            kept[_place(row)] += row.state_bytes
    total = max(program.state_bytes, 1)
    largest = [
        f"{place} {100 * size / total:.0f} %" for place, size in kept.most_common(_LARGEST_STATES)
    ]
    rest = len(kept) - len(largest)
    more = f", and {rest} more" if rest > 0 else ""
    lines.append(f"state from: {', '.join(largest) or 'nothing'}{more}")
    return lines


def _describe_field(frames: int | None) -> str:
    return "all frames from the stream's first one on" if frames is None else f"{frames} frames"


def _place(row: ValueTiming) -> str:
    return row.module_path or row.name
