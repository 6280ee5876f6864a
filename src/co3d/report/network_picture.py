"""A picture of a network in time: what a step computes, what it remembers, what it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from co3d.errors import OptionError
from co3d.report.output_file import output_file
from co3d.stream.program import StepProgram, ValueTiming

SUFFIXES = (".svg", ".png", ".pdf")
MAX_TICKS = 48
ROW_INCHES, TICK_INCHES, LABEL_INCHES = 0.34, 0.17, 4.6
INK, MUTED, FAINT = "#1d2733", "#5b6878", "#e3e7ec"
NOW, KEPT, LINE, DELAY = "#c2410c", "#1d5fa8", "#8fb0d6", "#7a3e9d"


@dataclass(frozen=True)
class Reading:
    """How a drawn value reads one drawn before it: at which ticks before it is made."""

    level: int
    backs: tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """One row of the picture: a value that looks along time, or waits for another."""

    row: ValueTiming
    readings: tuple[Reading, ...]


def draw_network(program: StepProgram, path: Path) -> None:
    """Draw a step program as an SVG, PNG or PDF, by the file's suffix.

    Time runs to the right, up to the newest frame. Each row is a value that looks along time, or
    that must wait; the input is at the bottom. Its elements are drawn at the tick at which they are
    made. In colour: what the newest step makes (one element per row) and what it reads from the
    past.

    Raises:
        OptionError: a suffix that names no kind of picture.
        OutputError: the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot draw {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    levels = find_levels(program.rows)
    deepest = max((b for lvl in levels for r in lvl.readings for b in r.backs), default=0)
    ticks = min(max(deepest + 2, program.delay + 2, 8), MAX_TICKS)
    width = LABEL_INCHES * 2 + TICK_INCHES * ticks
    figure = Figure(figsize=(width, 1.3 + ROW_INCHES * len(levels)), layout="constrained")
    axes = figure.subplots()
    _draw_elements(axes, levels, ticks, program)
    for height, level in enumerate(levels):
        _draw_readings(axes, height, level, ticks, program)
    _label(axes, levels, ticks, program)
    with output_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), facecolor="white")


def find_levels(rows: Sequence[ValueTiming]) -> list[Level]:
    """The rows worth drawing: those that read the past of a value; the input first.

    A value that only reads what is made at the same tick stands for the value that it reads.
    """
    levels: list[Level] = []
    stands_for: dict[str, int] = {}
    delays = {row.name: row.delay for row in rows}
    for row in rows:
        readings: dict[int, set[int]] = {}
        for name, offsets in row.reads:
            backs = {row.delay - offset - delays[name] for offset in offsets}
            readings.setdefault(stands_for[name], set()).update(backs)
        if row.reads and all(backs == {0} for backs in readings.values()):
            # Of several, the deepest: that is where the others have joined.
            stands_for[row.name] = max(readings)
            continue
        stands_for[row.name] = len(levels)
        ordered = (Reading(level, tuple(sorted(backs))) for level, backs in readings.items())
        levels.append(Level(row, tuple(ordered)))
    return levels


def _newest_tick(level: Level, program: StepProgram) -> int:
    """The last tick, counted from now (0) backwards, at which the value was made."""
    if program.rate == "dense":
        return 0
    return -((program.delay - level.row.delay) % level.row.stride)


def _made_at(level: Level, ticks: int, program: StepProgram) -> list[int]:
    step = 1 if program.rate == "dense" else level.row.stride
    return list(range(_newest_tick(level, program), -ticks, -step))


def _draw_elements(axes: Axes, levels: list[Level], ticks: int, program: StepProgram) -> None:
    for height, level in enumerate(levels):
        made = _made_at(level, ticks, program)
        axes.plot(made, [height] * len(made), "o", ms=3.2, mfc="white", mec="#b6bfca", mew=0.8)
        if made[:1] == [0]:
            axes.plot([0], [height], "o", ms=6, color=NOW, zorder=4)


def _draw_readings(
    axes: Axes,
    height: int,
    level: Level,
    ticks: int,
    program: StepProgram,
) -> None:
    newest = _newest_tick(level, program)
    for reading in level.readings:
        waits = len(reading.backs) == 1 and reading.backs[0] > 0
        for back in reading.backs:
            tick = newest - back
            if tick <= -ticks:
                continue
            style: dict[str, Any] = {"color": LINE, "ls": "-"}
            if waits:
                style = {"color": DELAY, "ls": (0, (3, 2))}
            axes.plot([tick, newest], [reading.level, height], lw=1, zorder=2, **style)
            if tick < 0:
                colour = DELAY if waits else KEPT
                axes.plot([tick], [reading.level], "o", ms=4.4, color=colour, zorder=3)
        if newest - max(reading.backs) <= -ticks:
            axes.annotate("…", (-ticks, reading.level), color=KEPT, ha="center", va="center")


def _label(axes: Axes, levels: list[Level], ticks: int, program: StepProgram) -> None:
    style = {"size": 7.5, "va": "center", "parse_math": False}
    for height, level in enumerate(levels):
        row = level.row
        axes.text(-ticks - 0.6, height, _name(row), ha="right", color=INK, **style)
        axes.text(0.9, height, _facts(row), ha="left", color=MUTED, **style)
    axes.set_xlim(-ticks - 0.5, 0.6)
    axes.set_ylim(-0.7, len(levels) - 0.3)
    marks = [t for t in range(0, -ticks, -1) if t % 4 == 0]
    axes.set_xticks(marks, ["now" if t == 0 else str(t) for t in marks], size=7.5, color=MUTED)
    axes.set_xlabel("frames before the newest, at which a value was made", size=8, color=MUTED)
    axes.set_yticks([])
    axes.axvline(0, color=FAINT, lw=7, zorder=0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    window = f", window {program.window}" if program.window else ""
    axes.set_title(
        f"{program.name}: receptive field {program.receptive_field} frames, delay {program.delay}"
        f"{window}, state {program.state_bytes / 1e6:.2f} MB",
        size=9.5,
        color=INK,
        loc="left",
        parse_math=False,
    )
    keys = [
        ("o", NOW, "made by this step"),
        ("o", KEPT, "remembered and read"),
        ("o", DELAY, "waits for another branch"),
    ]
    handles = [
        axes.plot([], [], marker, color=colour, ms=4.5, label=text)[0]
        for marker, colour, text in keys
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -0.55 / max(len(levels), 1) - 0.02),
        ncols=3,
        frameon=False,
        fontsize=7.5,
        labelcolor=MUTED,
    )


def _name(row: ValueTiming) -> str:
    return f"{row.module_path or row.name}  {row.operator.split('.')[0]}"


def _facts(row: ValueTiming) -> str:
    stride = f"  stride {row.stride}" if row.stride > 1 else ""
    state = f"  {row.state_bytes / 1e3:,.0f} kB" if row.state_bytes else ""
    return f"delay {row.delay}{stride}{state}"
