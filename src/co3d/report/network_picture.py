"""Draw a network over time: what a step computes, what it keeps as state, and what it reads."""

from pathlib import Path as FilePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MultipleLocator

from co3d.compiler.program import StepProgram
from co3d.picture_style import INK, MUTED, check_picture_path, save_figure
from co3d.report.network_levels import Level, Reading, find_levels

MAX_WINDOW = 96  # the most frames drawn before the end of the row with the largest delay
FAINT, UNKNOWN = "#d5dbe2", "#f0f2f5"
NOW, READ, KEPT = "#c2410c", "#1d5fa8", "#a9c4e4"
KERNEL, DELAY, WINDOW = "#1d5fa8", "#7a3e9d", "#2f7d5b"
LABEL_POINTS, HEADING_POINTS = 7.5, 10.0
INCHES_PER_CHARACTER = 0.066  # of the labels, which are set in a proportional font
TOP_INCHES, BOTTOM_INCHES, GAP_INCHES, COLUMN_INCHES = 0.75, 1.0, 0.22, 0.62
TICK_LABEL_INCHES = 0.45
LEGEND_COLUMNS = 3
# A network's name is plain text, not a formula.
TEXT: dict[str, Any] = {"size": LABEL_POINTS, "va": "center", "parse_math": False}


def draw_network(program: StepProgram, path: FilePath, *, title: str | None = None) -> None:
    """Draw a step program as an SVG, PNG or PDF, by the file's suffix.

    Time runs to the right, in frames, up to the newest frame n. Each row is a value with a temporal
    operator, the input at the bottom. Its elements are drawn at the frames that they stand for, so
    a row with a larger delay ends further left. Lines lead from the elements that the newest step
    computes to those that it reads.

    Args:
        title: the name above the picture; the network's class name where it is not given.

    Raises:
        OptionError, OutputError: as for `check_picture_path`; or the file cannot be written.
    """
    check_picture_path(path)
    figure = _Picture(program, find_levels(program.rows), title or program.name).draw()
    save_figure(figure, path)


class _Picture:
    """Lays a network out and draws it; frames are counted from the newest one, 0, backwards."""

    def __init__(self, program: StepProgram, levels: list[Level], title: str) -> None:
        self._program, self._levels, self._title = program, levels, title
        self._is_dense = program.rate == "dense"
        oldest = min(self._newest(level) - level.depth for level in levels)
        # All rows end inside the picture; long windows may begin outside.
        self._first = max(oldest - 1, min(map(self._newest, levels)) - MAX_WINDOW)
        frames = 1 - self._first
        self._width = min(max(0.24 * frames, 3.2), 9.0)
        self._row_inches = min(max(13 / len(levels), 0.24), 0.4)
        self._element_points = min(5.0, 0.5 * 72 * self._width / frames)

    def draw(self) -> Figure:
        names = [level.rows[0].module_path or level.rows[0].name for level in self._levels]
        operators = [level.operators for level in self._levels]
        columns = self._columns()
        left = [max(map(len, texts)) * INCHES_PER_CHARACTER for texts in (names, operators)]
        label_inches = sum(left) + 3 * GAP_INCHES
        rows_inches = self._row_inches * len(self._levels)
        width = label_inches + self._width + COLUMN_INCHES * len(columns) + GAP_INCHES
        height = TOP_INCHES + rows_inches + BOTTOM_INCHES
        # Wide enough for the heading and the legend of a small network.
        figure = Figure(figsize=(max(width, 7.4), height))
        axes = figure.add_axes(
            (
                label_inches / figure.get_figwidth(),
                BOTTOM_INCHES / height,
                self._width / figure.get_figwidth(),
                rows_inches / height,
            )
        )
        self._set_up(axes)
        for y, level in enumerate(self._levels):
            self._draw_elements(axes, y, level)
            for reading in level.readings:
                self._draw_reading(axes, y, level, reading)
        self._write_labels(axes, names, operators, left[1] + 2 * GAP_INCHES)
        self._write_columns(axes, columns)
        self._write_heading(figure)
        self._add_legend(figure)
        return figure

    def _newest(self, level: Level) -> int:
        """The frame that a level's newest element stands for."""
        row = level.row
        made = 0 if self._is_dense else -((self._program.delay - row.delay) % row.stride)
        return made - row.delay

    def _is_made_now(self, level: Level) -> bool:
        return self._newest(level) + level.row.delay == 0

    def _remembered(self, level: Level) -> list[int]:
        """The frames whose elements are in the state, newest first."""
        step = 1 if self._is_dense else level.row.stride
        newest = self._newest(level)
        return list(range(newest - step, max(newest - level.depth, self._first) - 1, -step))

    def _read_frames(self, y: int) -> set[int]:
        """The frames whose elements of a level are read to compute the newest ones of others."""
        return {
            self._newest(level) + offset
            for level in self._levels
            for reading in level.readings
            if reading.level == y
            for offset in reading.offsets
        }

    def _set_up(self, axes: Axes) -> None:
        axes.set_xlim(self._first - 0.5, 0.5)
        axes.set_ylim(-0.5, len(self._levels) - 0.5)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=3, colors=MUTED, labelsize=LABEL_POINTS)
        most = self._width / TICK_LABEL_INCHES
        step = next(s for s in (1, 2, 4, 8, 16, 32) if -self._first / s <= most or s == 32)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(_format_frame))
        axes.set_xlabel(
            "frame that an element stands for; n is the newest frame",
            size=LABEL_POINTS + 0.5,
            color=MUTED,
        )

    def _draw_elements(self, axes: Axes, y: int, level: Level) -> None:
        newest = self._newest(level)
        if newest < 0:
            axes.barh(y, -newest, 1.02, newest + 0.5, color=UNKNOWN, lw=0, zorder=0)
        axes.plot([self._first - 0.5, newest], [y, y], color=FAINT, lw=0.6, zorder=0.5)
        self._dot(axes, self._remembered(level), y, color=KEPT, zorder=3)
        face = NOW if self._is_made_now(level) else "white"
        self._dot(axes, [newest], y, grow=1.35, mfc=face, mec=NOW, mew=1.0, zorder=6)
        if newest - level.depth < self._first:
            axes.text(self._first - 0.4, y + 0.3, "…", color=READ, **TEXT)

    def _draw_reading(self, axes: Axes, y: int, level: Level, reading: Reading) -> None:
        newest, source = self._newest(level), self._levels[reading.level]
        frames = [newest + offset for offset in reading.offsets]
        before = [frame for frame in frames if frame < self._newest(source)]
        seen = [frame for frame in frames if frame >= self._first]
        if not seen:
            return
        if reading.is_delay_line:
            self._draw_delay_line(axes, (frames[0], reading.level), (newest, y))
            self._dot(axes, before, reading.level, color=DELAY, zorder=5)
            return
        is_window = reading is level.window
        colour = WINDOW if is_window else KERNEL
        # Distant levels are joined by lines only, which hide less in between.
        near = y - reading.level == 1
        if near and len(seen) > 1:
            corners = [(seen[0], y - 1), (seen[-1], y - 1), (newest, y)]
            axes.fill(*zip(*corners, strict=True), color=colour, alpha=0.13, lw=0, zorder=1)
        drawn = [seen[0], seen[-1]] if is_window else seen
        for frame in drawn:
            axes.plot(
                [frame, newest],
                [reading.level, y],
                color=colour,
                lw=0.9,
                alpha=0.9 if near else 0.45,
                zorder=2,
            )
        self._dot(axes, [f for f in before if f in seen], reading.level, color=colour, zorder=4)
        if is_window:
            self._name_window(axes, level, seen, reading)

    def _draw_delay_line(self, axes: Axes, start: tuple[int, int], end: tuple[int, int]) -> None:
        """A dashed curve that avoids the kernel's lines between the same two rows."""
        bend = 0.13 * (1 - self._first) / self._width
        (x0, y0), (x1, y1) = start, end
        middle = ((x0 + x1) / 2 + 2 * bend, (y0 + y1) / 2)
        curve = Path([start, middle, end], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
        axes.add_patch(PathPatch(curve, fc="none", ec=DELAY, lw=1.0, ls=(0, (3, 2)), zorder=2.5))

    def _name_window(self, axes: Axes, level: Level, seen: list[int], reading: Reading) -> None:
        count = len(reading.offsets)
        text = f"the newest {count}" if level.is_rerun else f"window {count}"
        x, y = (seen[0] + seen[-1]) / 2, reading.level + 0.36
        box = {"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.8}
        axes.text(x, y, text, color=WINDOW, ha="center", zorder=7, bbox=box, **TEXT)

    def _dot(self, axes: Axes, frames: list[int], y: int, grow: float = 1.0, **style: Any) -> None:
        size = grow * self._element_points
        axes.plot(frames, [y] * len(frames), "o", ms=size, ls="", **{"mew": 0.0, **style})

    def _write_labels(
        self, axes: Axes, names: list[str], operators: list[str], name_inches: float
    ) -> None:
        frames_per_inch = (1 - self._first) / self._width
        right = self._first - 0.5 - GAP_INCHES * frames_per_inch
        left = self._first - 0.5 - name_inches * frames_per_inch
        for y, (name, operator) in enumerate(zip(names, operators, strict=True)):
            axes.text(left, y, name, ha="right", color=INK, clip_on=False, **TEXT)
            axes.text(right, y, operator, ha="right", color=MUTED, clip_on=False, **TEXT)

    def _columns(self) -> dict[str, list[str]]:
        """The figures at the right, by their heading; those of the input come first."""
        rows = [level.row for level in self._levels]
        columns = {"delay": [str(row.delay) for row in rows]}
        if any(row.stride > 1 for row in rows):
            columns["stride"] = [str(row.stride) for row in rows]
        columns["state"] = [_format_bytes(level.state_bytes) for level in self._levels]
        return columns

    def _write_columns(self, axes: Axes, columns: dict[str, list[str]]) -> None:
        frames_per_inch = (1 - self._first) / self._width
        top = len(self._levels) - 0.5 + 0.12 / self._row_inches
        for place, (heading, cells) in enumerate(columns.items(), 1):
            x = 0.5 + place * COLUMN_INCHES * frames_per_inch
            for y, cell in [*enumerate(cells), (top, heading)]:
                axes.text(x, y, cell, ha="right", color=MUTED, clip_on=False, **TEXT)

    def _write_heading(self, figure: Figure) -> None:
        program = self._program
        facts = [
            f"delay {program.delay} frame{'s' * (program.delay != 1)}",
            f"receptive field {program.receptive_field or 'all frames'}",
            f"state {_format_bytes(program.state_bytes) or '0 kB'} per stream",
        ]
        if program.window:
            facts.insert(2, f"window {program.window}")
        if not self._is_dense:
            facts.append(f"a result every {program.temporal_stride} frames")
        y = 1 - 0.22 / figure.get_figheight()
        x = GAP_INCHES / figure.get_figwidth()
        name_style: dict[str, Any] = {**TEXT, "size": HEADING_POINTS, "weight": "bold"}
        figure.text(x, y, self._title, color=INK, **name_style)
        y -= 0.19 / figure.get_figheight()
        figure.text(x, y, ", ".join(facts), color=MUTED, **TEXT)

    def _add_legend(self, figure: Figure) -> None:
        def dot(colour: str, label: str, face: str | None = None) -> Line2D:
            style: dict[str, Any] = {"mfc": face or colour, "mec": colour, "ms": 4.5}
            return Line2D([], [], ls="", marker="o", label=label, **style)

        def read(colour: str, reader: str, style: Any = "-") -> Line2D:
            label = f"remembered, read by a {reader}"
            return Line2D([], [], color=colour, lw=1, ls=style, marker="o", ms=4.5, label=label)

        readings = [reading for level in self._levels for reading in level.readings]
        windows = [level.window for level in self._levels if level.window is not None]
        kernels = [r for r in readings if not (r.is_delay_line or r.is_immediate or r in windows)]
        handles: list[Any] = [dot(NOW, "made by this step")]
        if not all(map(self._is_made_now, self._levels)):
            handles.append(dot(NOW, "made by a step before", "white"))
        if kernels:
            handles.append(read(KERNEL, "kernel"))
        if any(reading.is_delay_line for reading in readings):
            handles.append(read(DELAY, "delay line", (0, (3, 2))))
        if windows:
            handles.append(read(WINDOW, "window"))
        idle = (set(self._remembered(x)) - self._read_frames(y) for y, x in enumerate(self._levels))
        if any(idle):
            handles.append(dot(KEPT, "remembered, read later"))
        handles.append(Patch(fc=UNKNOWN, ec=FAINT, label="not known yet"))
        figure.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.02 / figure.get_figheight()),
            ncols=min(len(handles), LEGEND_COLUMNS),
            frameon=False,
            fontsize=LABEL_POINTS,
            labelcolor=MUTED,
            handletextpad=0.4,
            columnspacing=1.4,
        )


def _format_frame(frame: float, _position: int) -> str:
    return "n" if frame == 0 else f"n\N{MINUS SIGN}{-frame:.0f}"


def _format_bytes(count: int) -> str:
    if not count:
        return ""
    if count < 1e3:
        return f"{count} B"
    if count < 1e6:
        return f"{count / 1e3:.1f} kB" if count < 1e5 else f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:,.1f} MB"
