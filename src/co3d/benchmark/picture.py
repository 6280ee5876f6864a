"""The picture of a benchmark: multiply-accumulates per prediction against latency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from co3d.benchmark.records import Record
from co3d.files import output_file

INK, MUTED, FAINT = "#1d2733", "#5b6878", "#e3e7ec"
# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDE_RATIO = 300  # from here on an axis names powers of ten only
# By what a record is, and whether another library made it.
MARKERS = {("clip", False): "s", ("step", False): "o", ("clip", True): "+", ("step", True): "x"}
MEANINGS = {
    ("clip", False): "clip network on a whole clip",
    ("step", False): "its step, fastest backend",
    ("clip", True): "same clip, other library",
    ("step", True): "same step, other library",
}


def draw_picture(records: Sequence[Record], path: Path, *, subtitle: str) -> None:
    """Draw clip and step of each model, joined by an arrow, and peers as crosses.

    Of several steps of a model the fastest in float32 is drawn, at the smallest batch size.

    Args:
        records: of a benchmark, at least one model's.
        path: written whole or not at all; SVG, PNG or PDF by its suffix.
        subtitle: a line under the title.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = Figure((9, 5.8), dpi=150, layout="constrained")
    axis = figure.subplots()
    names = list(dict.fromkeys(record.model for record in records))
    models = []
    for index, name in enumerate(names):
        colour = COLOURS[index % len(COLOURS)]
        label = _draw_model(axis, [record for record in records if record.model == name], colour)
        models.append(Line2D([], [], color=colour, linewidth=3, label=label))
    _style_axes(axis)
    axis.set_title(subtitle, loc="left", fontsize=9, color=MUTED, parse_math=False)
    figure.suptitle("One prediction: clip and step", x=0.01, ha="left", weight="bold", color=INK)
    kinds = {_kind(record) for record in records}
    meanings = [
        Line2D([], [], color=INK, marker=marker, mew=2, linestyle="none", label=MEANINGS[kind])
        for kind, marker in MARKERS.items()
        if kind in kinds
    ]
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": INK}
    figure.legend(handles=models, loc="outside right upper", labelspacing=1, **style)
    figure.legend(handles=meanings, loc="outside lower center", ncols=len(meanings), **style)
    with output_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), facecolor="white")


def _draw_model(axis: Axes, records: Sequence[Record], colour: str) -> str:
    """Draw a model's points and arrow; return what the legend says of it.

    A device may have had no memory for the clip or for the steps.
    """
    batch = min(record.batch for record in records)
    shown = [record for record in records if record.batch == batch]
    clips = [record for record in shown if _kind(record) == ("clip", False)][:1]
    steps = [record for record in shown if _kind(record) == ("step", False)]
    exact = [record for record in steps if record.precision == "float32"] or steps
    fastest = sorted(exact, key=lambda record: record.prediction_ms)[:1]
    for record in (*clips, *fastest, *(record for record in shown if record.peer)):
        axis.plot(*_place(record), MARKERS[_kind(record)], color=colour, markersize=8, mew=2)
    lines = [shown[0].model, *_describe_accuracy(shown[0])]
    for clip, step in zip(clips, fastest, strict=False):
        arrow = {"arrowstyle": "-|>", "color": colour, "alpha": 0.55, "linewidth": 1.6}
        ends = {"shrinkA": 6, "shrinkB": 6}
        axis.annotate("", _place(step), _place(clip), arrowprops={**arrow, **ends})
        lines.append(f"{clip.prediction_ms / step.prediction_ms:.1f} times faster")
    lines += [f"({step.backend.split()[0]}, {step.precision})" for step in fastest]
    return "\n".join(lines)


def _describe_accuracy(record: Record) -> list[str]:
    """The first published figure, if any, on a line of its own."""
    figures = list(record.published_accuracy.items())[:1]
    return [f"{percent:.1f} % {measure.split(',')[0]}" for measure, percent in figures]


def _kind(record: Record) -> tuple[str, bool]:
    return record.what, record.peer is not None


def _style_axes(axis: Axes) -> None:
    axis.set(xscale="log", yscale="log")
    axis.margins(0.08)
    axis.set_xlabel("multiply-accumulates per prediction", color=MUTED)
    axis.set_ylabel("median ms per prediction", color=MUTED)
    formats = (_format_macs, lambda value, _position: f"{value:g}")
    for side, limits, write in zip(
        (axis.xaxis, axis.yaxis), (axis.get_xlim(), axis.get_ylim()), formats, strict=True
    ):
        is_wide = limits[1] / limits[0] > WIDE_RATIO
        side.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
        side.set_major_formatter(FuncFormatter(write))
        side.set_minor_formatter("")
    axis.grid(color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(which="both", colors=MUTED)


def _place(record: Record) -> tuple[float, float]:
    return float(record.macs_per_prediction), record.prediction_ms


def _format_macs(value: float, _position: int) -> str:
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g}"
