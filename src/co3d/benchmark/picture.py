"""The picture of a benchmark: the time for a prediction, by network form and backend."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from co3d.benchmark.records import CLIP, Record
from co3d.picture_style import BLUE, FAINT, INK, MUTED, ORANGE, save_figure, style_axes

EXACT = "float32"
WIDTH_INCHES, ROW_INCHES, HEADING_ROWS, FRAME_INCHES = 8.2, 0.25, 1.5, 1.4
ROOM_FOR_VALUES = 4.0  # the axis ends at this multiple of the longest latency
WIDE_RATIO = 300  # an axis with this ratio of end to start is only labelled at powers of ten
COLOURS = {"clip": ORANGE, "step": BLUE}
MEANINGS = {
    ("clip", False): "network on a whole clip",
    ("step", False): "its step on one frame",
    ("clip", True): "clip, other library",
    ("step", True): "step, other library",
}


def draw_picture(records: Sequence[Record], path: Path, *, subtitle: str) -> None:
    """Draw a row for each way to make a prediction, its latency written beside its point.

    Args:
        records: of a benchmark, at least one model's.
        path: written whole or not at all; SVG, PNG or PDF by its suffix.
        subtitle: a line under the title.

    Raises:
        OutputError: the file cannot be written.
    """
    save_figure(_draw(records, subtitle), path)


def choose_rows(records: Sequence[Record]) -> list[Record]:
    """The records of one model for its picture, the slowest prediction first.

    These are, at the smallest batch size: the clip network in eager PyTorch and its fastest float32
    form, the step of each backend in float32, the fastest step of all, and the peers. A device
    without float32 shows every step.
    """
    batch = min(record.batch for record in records)
    shown = [record for record in records if record.batch == batch]
    ours = [record for record in shown if record.peer is None]
    clips = [record for record in ours if record.what == "clip"]
    steps = [record for record in ours if record.what == "step"]
    exact_clips = [record for record in clips if record.precision == EXACT]
    rows = [
        *clips[:1],
        *_fastest(exact_clips),
        *([record for record in steps if record.precision == EXACT] or steps),
        *_fastest(steps),
        *(record for record in shown if record.peer is not None),
    ]
    unique = {id(record): record for record in rows}.values()
    return sorted(unique, key=lambda record: -record.prediction_ms)


def _fastest(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.prediction_ms)[:1]


def _draw(records: Sequence[Record], subtitle: str) -> Figure:
    names = list(dict.fromkeys(record.model for record in records))
    groups = [[record for record in records if record.model == name] for name in names]
    rows = [choose_rows(group) for group in groups]
    height_rows = sum(map(len, rows)) + HEADING_ROWS * len(rows)
    size = (WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * height_rows)
    figure = Figure(size, layout="constrained")
    axis = figure.subplots()
    shortest, longest = (
        bound(record.prediction_ms for group in rows for record in group) for bound in (min, max)
    )
    axis.set(xscale="log", xlim=(shortest / 1.6, longest * ROOM_FOR_VALUES))
    axis.set_ylim(height_rows, 0)
    ticks: dict[float, str] = {}
    top = 0.0
    for group, shown in zip(groups, rows, strict=True):
        axis.text(
            0.0,
            top + 0.6,
            _describe_model(group),
            transform=axis.get_yaxis_transform(),
            **{"va": "center", "color": INK, "weight": "bold", "size": 9, "parse_math": False},
        )
        for place, record in enumerate(shown):
            y = top + HEADING_ROWS + place
            ticks[y] = _name(record)
            _draw_row(axis, y, record)
        top += HEADING_ROWS + len(shown)
    _style(axis, ticks)
    axis.set_title(subtitle, loc="left", fontsize=9, color=MUTED, parse_math=False)
    figure.suptitle("Time for one prediction", x=0.01, ha="left", weight="bold", color=INK)
    _add_legend(figure, [record for group in rows for record in group])
    return figure


def _draw_row(axis: Axes, y: float, record: Record) -> None:
    axis.plot([axis.get_xlim()[0], record.prediction_ms], [y, y], color=FAINT, lw=1.2, zorder=1)
    axis.plot(record.prediction_ms, y, **_marker(record))
    axis.annotate(
        _describe_value(record),
        (record.prediction_ms, y),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=INK,
    )


def _describe_value(record: Record) -> str:
    """Milliseconds rounded as in README's table, and the speed-up over the eager clip."""
    milliseconds = record.prediction_ms
    decimals = 0 if milliseconds >= 100 else 1 if milliseconds >= 1 else 2
    value = f"{milliseconds:.{decimals}f} ms"
    ratio = record.speedups.get(CLIP)
    return value if ratio is None else f"{value} · {ratio:.1f}x"


def _name(record: Record) -> str:
    return f"{record.what}, {_name_backend(record)}, {record.precision}"


def _name_backend(record: Record) -> str:
    """The library or backend, without versions, devices and threads."""
    first = record.peer or record.backend.split(",")[0]
    return " ".join(word for word in first.split() if not word[0].isdigit())


def _describe_model(records: Sequence[Record]) -> str:
    """Name, published accuracy, and the multiply-accumulates of clip and step."""
    first = records[0]
    parts = [first.model]
    parts += [
        f"{percent:.1f} % {measure.split(',')[0]}"
        for measure, percent in list(first.published_accuracy.items())[:1]
    ]
    counts = {record.what: record.macs_per_prediction for record in records if record.peer is None}
    parts.append(
        "MACs: " + ", ".join(f"{what} {count / 1e9:.3g} G" for what, count in counts.items())
    )
    return " · ".join(parts)


def _style(axis: Axes, ticks: dict[float, str]) -> None:
    axis.set_xlabel("median ms per prediction, and how many times faster than the eager clip")
    style_axes(axis, grid="x")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > WIDE_RATIO else (1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(list(ticks), list(ticks.values()), parse_math=False)
    axis.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    axis.spines["left"].set_visible(False)


def _kind(record: Record) -> tuple[str, bool]:
    return record.what, record.peer is not None


def _marker(record: Record) -> dict[str, Any]:
    """Clips and steps differ in colour; markers of other libraries are hollow."""
    what, is_other = _kind(record)
    colour = COLOURS[what]
    face = "white" if is_other else colour
    return {"marker": "o", "ms": 6.5, "mfc": face, "mec": colour, "mew": 1.6, "zorder": 3}


def _add_legend(figure: Figure, records: Sequence[Record]) -> None:
    by_kind = {_kind(record): record for record in records}
    handles = [
        Line2D([], [], linestyle="none", label=meaning, **_marker(by_kind[kind]))
        for kind, meaning in MEANINGS.items()
        if kind in by_kind
    ]
    style: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK}
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), **style)
