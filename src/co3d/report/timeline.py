"""The timeline picture: every label's probability over time."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from co3d.engine import Labeller, LabellingSummary, Prediction, Segment
from co3d.errors import OptionError
from co3d.files import output_file
from co3d.report.colours import label_colours

SUFFIXES = (".png", ".svg", ".pdf")
MAX_ROWS = 12
ROW_FILL = 0.86  # share of a row's height that a probability of 1 fills
STRIP_INCHES, ROW_INCHES, FRAME_INCHES = 0.42, 0.4, 1.3
INK, MUTED, FAINT = "#1d2733", "#5b6878", "#e3e7ec"
POINTS_PER_CHARACTER = 5.2  # of the strips' text, to leave out names that do not fit
STRIP_POINTS = 700.0
# Names come from files and users: a dollar sign in them is no formula.
NAME_STYLE: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "color": INK,
    "size": 8,
    "parse_math": False,
}


class Timeline:
    """Collects predictions and draws them: one row per label, the likeliest label on top.

    It keeps every label's probability, 4·K bytes a prediction, until the picture is drawn.

    Args:
        labels: K names in the order of the probabilities.
        colours: label -> "#rrggbb".
        rate_hz: frames per second that the network sees.
    """

    def __init__(self, labels: tuple[str, ...], colours: dict[str, str], rate_hz: float) -> None:
        self._labels = labels
        self._colours = colours
        self._frame_seconds = 1 / rate_hz
        self._pts_seconds: list[float] = []
        self._probabilities: list[np.ndarray] = []
        self._starts: list[int] = []  # of predictions that no gap interrupts
        self._is_broken = True

    def add(self, prediction: Prediction) -> None:
        """Keep one valid prediction; others leave a hole in the picture, as gaps do."""
        if prediction.gap_seconds or not prediction.valid:
            self._is_broken = True
        if prediction.valid:
            if self._is_broken:
                self._starts.append(len(self._pts_seconds))
                self._is_broken = False
            self._pts_seconds.append(prediction.frame.pts_seconds)
            self._probabilities.append(prediction.probabilities)

    def draw(
        self, *, title: str, segments: Sequence[Segment], truth: Sequence[Segment] = ()
    ) -> Figure:
        """Draw the picture, 12 inches wide, at 150 dots per inch.

        Args:
            title: one line above the picture.
            segments: runs of the likeliest label.
            truth: what is known to be true, drawn above them.
        """
        rows = self._choose_rows()
        strips = [("truth", truth), ("predicted", segments)] if truth else [("predicted", segments)]
        heights = [STRIP_INCHES] * len(strips) + [ROW_INCHES * max(1, len(rows))]
        figure = Figure((12, FRAME_INCHES + sum(heights)), dpi=150, layout="constrained")
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        heading = figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
        heading.set(parse_math=False, fontweight="bold")
        start_seconds, end_seconds = self._span([*segments, *truth])
        for axis, (name, strip) in zip(axes, strips, strict=False):
            self._draw_strip(axis, name, strip, end_seconds - start_seconds)
        self._draw_rows(axes[-1], rows)
        axes[-1].set_xlim(start_seconds, end_seconds)
        axes[-1].xaxis.set_major_formatter(FuncFormatter(_format_seconds))
        axes[-1].set_xlabel("time in the video", color=MUTED)
        return figure

    def _list_steps(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Times and a label's probabilities from each on; not a number where a gap begins.

        Each prediction holds until the next one; the last before a gap holds for one frame.
        """
        times: list[float] = []
        values: list[float] = []
        for start, end in pairwise([*self._starts, len(self._pts_seconds)]):
            times += [*self._pts_seconds[start:end], self._pts_seconds[end - 1]]
            times[-1] += self._frame_seconds
            values += [float(self._probabilities[number][row]) for number in range(start, end)]
            values += [values[-1]]
            times.append(times[-1])
            values.append(math.nan)
        return np.asarray(times), np.asarray(values)

    def _choose_rows(self) -> list[int]:
        """Labels in their own order; of more than 12, those whose probability ever rose highest."""
        if not self._probabilities:
            return []
        peaks = np.max(self._probabilities, axis=0)
        return sorted(np.argsort(-peaks, kind="stable")[:MAX_ROWS].tolist())

    def _span(self, segments: Sequence[Segment]) -> tuple[float, float]:
        if not segments:
            return 0.0, 1.0
        return (
            min(segment.start_seconds for segment in segments),
            max(segment.end_seconds for segment in segments),
        )

    def _draw_strip(
        self, axis: Axes, name: str, segments: Sequence[Segment], span_seconds: float
    ) -> None:
        lengths = [segment.end_seconds - segment.start_seconds for segment in segments]
        axis.broken_barh(
            [(segment.start_seconds, n) for segment, n in zip(segments, lengths, strict=True)],
            (0, 1),
            facecolors=[self._colours[segment.label] for segment in segments],
            edgecolor="white",
            linewidth=0.8,
        )
        for segment, seconds in zip(segments, lengths, strict=True):
            room = int(STRIP_POINTS * seconds / span_seconds / POINTS_PER_CHARACTER)
            lines = textwrap.wrap(segment.label, max(1, room), break_long_words=False)
            if len(lines) <= 2 and all(len(line) <= room for line in lines):
                middle = segment.start_seconds + seconds / 2
                axis.text(middle, 0.48, "\n".join(lines), **NAME_STYLE)
        axis.set_ylim(0, 1)
        axis.set_yticks([0.5], [name], fontweight="bold")
        _strip_frame(axis)
        axis.tick_params(axis="x", length=0, labelbottom=False)

    def _draw_rows(self, axis: Axes, rows: Sequence[int]) -> None:
        if not rows:
            axis.text(0.5, 0.5, "no valid prediction", transform=axis.transAxes, ha="center")
        for place, row in enumerate(rows):
            floor = len(rows) - 1 - place
            axis.axhline(floor, color=FAINT, linewidth=0.8, zorder=0)
            times, values = self._list_steps(row)
            colour = self._colours[self._labels[row]]
            ceiling = floor + ROW_FILL * values
            axis.fill_between(times, floor, ceiling, step="post", color=colour, linewidth=0)
        axis.set_ylim(-0.08, max(1, len(rows)))
        centres = [len(rows) - 1 - place + ROW_FILL / 2 for place in range(len(rows))]
        axis.set_yticks(centres, [self._labels[row] for row in rows], parse_math=False)
        _strip_frame(axis)


@contextmanager
def timeline_picture(
    path: Path,
    labeller: Labeller,
    summary: LabellingSummary,
    *,
    title: str,
    truth: Sequence[Segment] = (),
) -> Iterator[Timeline]:
    """Yield a timeline to add predictions to; the picture is written when the block ends well.

    Args:
        path: PNG, SVG or PDF by its suffix.
        labeller: makes the predictions.
        summary: counts the same predictions; its segments become the strip of likeliest labels.

    Raises:
        OptionError: the suffix is another one.
        OutputError: the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(
            f"cannot draw the timeline as {path.name}: got the suffix {path.suffix!r}, expected "
            f"one of {', '.join(SUFFIXES)}; rename the output"
        )
    timeline = Timeline(labeller.labels, label_colours(labeller.labels), labeller.rate_hz)
    with output_file(path) as temporary:
        yield timeline
        figure = timeline.draw(title=title, segments=summary.segments, truth=truth)
        figure.savefig(temporary, format=path.suffix[1:].lower(), facecolor="white")


def _strip_frame(axis: Axes) -> None:
    axis.spines[:].set_visible(False)
    axis.tick_params(axis="y", length=0, colors=INK)
    axis.tick_params(axis="x", colors=MUTED)


def _format_seconds(seconds: float, _position: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}" if minutes else f"{rest:g} s"
