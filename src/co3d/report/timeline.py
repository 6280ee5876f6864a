"""The timeline picture: every label's probability over time."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from co3d.engine import Labeller, Prediction, Segment
from co3d.files import output_file
from co3d.picture_style import FAINT, INK, MUTED, check_picture_path
from co3d.report.colours import label_colours
from co3d.report.time_axis import draw_time_axis
from co3d.report.timeline_spans import TimelineSpans

MAX_ROWS = 12
ROW_FILL = 0.86  # share of a row's height that a probability of 1 fills
HIGHEST_ALPHA = 0.35
STRIP_INCHES, ROW_INCHES, FRAME_INCHES = 0.42, 0.4, 1.3
POINTS_PER_CHARACTER = 5.2  # of the strips' text, to leave out names that do not fit
STRIP_POINTS = 700.0
EDGE_POINTS = 4.0  # narrower segments are drawn without an edge, which would cover them
TITLE_CHARACTERS, NAME_CHARACTERS = 110, 36
# Names come from files and users, so dollar signs in them must not start a formula.
NAME_STYLE: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "color": INK,
    "size": 8,
    "parse_math": False,
}


class Timeline:
    """Collects predictions and draws them: one row per label, the likeliest label on top.

    Its memory does not grow with the video: intervals too short to be visible are merged.

    Args:
        labels: K names in the order of the probabilities.
        colours: label -> "#rrggbb".
        rate_hz: frames per second for the network.
        threshold: lower probabilities are not drawn.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        colours: dict[str, str],
        rate_hz: float,
        threshold: float = 0.0,
    ) -> None:
        self._labels = labels
        self._colours = colours
        self._threshold = threshold
        self._spans = TimelineSpans(1 / rate_hz, threshold)

    def add(self, prediction: Prediction) -> None:
        """Add a valid prediction; invalid ones leave a hole in the picture, as gaps do."""
        self._spans.add(prediction)

    def draw(self, *, title: str, truth: Sequence[Segment] = ()) -> Figure:
        """Draw the picture, 12 inches wide, at 150 dots per inch.

        Time 0 is the first prediction, valid or not.

        Args:
            title: one line above the picture.
            truth: true segments, drawn above the predictions.
        """
        self._spans.finish()
        start_seconds = self._spans.start_seconds or 0.0
        predicted = [_shift(segment, start_seconds) for segment in self._spans.segments()]
        strips = [("predicted", predicted)]
        if truth:
            strips.insert(0, ("truth", [_shift(segment, start_seconds) for segment in truth]))
        rows = self._choose_rows()
        heights = [STRIP_INCHES] * len(strips) + [ROW_INCHES * max(1, len(rows))]
        figure = Figure((12, FRAME_INCHES + sum(heights)), dpi=150, layout="constrained")
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        title = _shorten(title, TITLE_CHARACTERS)
        heading = figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
        heading.set(parse_math=False, fontweight="bold")
        ends = [segment.end_seconds for segment in truth]
        seconds = max([self._spans.end_seconds, *ends]) - start_seconds or 1.0
        for axis, (name, strip) in zip(axes, strips, strict=False):
            self._draw_strip(axis, name, strip, seconds)
        self._draw_rows(axes[-1], rows, start_seconds)
        label = "time in the video"
        if start_seconds:
            label = f"time from the first frame on, which is at {start_seconds:.2f} s"
        draw_time_axis(axes[-1], seconds, label, self._describe_steps())
        axes[-1].xaxis.label.set_color(MUTED)
        return figure

    def _describe_steps(self) -> str:
        if not self._spans.step_seconds:
            return ""
        return (
            f"one step is {self._spans.step_seconds:.2g} s: the label that lasted longest, and "
            "mean (full) and highest (pale) probabilities"
        )

    def _list_steps(
        self, row: int, start_seconds: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times, and a label's mean and highest probability at each; NaN where a gap begins.

        Times are relative to `start_seconds`.
        """
        times: list[float] = []
        means: list[float] = []
        peaks: list[float] = []
        spans = self._spans.spans
        for span, later in pairwise([*spans, None]):
            assert span is not None
            mean, peak = float(span.mean[row]), float(span.highest[row])
            times.append(span.start_seconds)
            means.append(mean)
            peaks.append(peak)
            if later is None or not span.touches(later):
                times += [span.end_seconds] * 2
                means += [mean, math.nan]
                peaks += [peak, math.nan]
        return np.asarray(times) - start_seconds, np.asarray(means), np.asarray(peaks)

    def _choose_rows(self) -> list[int]:
        """Labels in their own order; of more than 12, those with the highest probabilities.

        Those that never reach the threshold are left out.
        """
        if not self._spans.spans:
            return []
        peaks = np.max([span.highest for span in self._spans.spans], axis=0)
        rows = sorted(np.argsort(-peaks, kind="stable")[:MAX_ROWS].tolist())
        return [row for row in rows if peaks[row] > 0 or not self._threshold]

    def _draw_strip(
        self, axis: Axes, name: str, segments: Sequence[Segment], axis_seconds: float
    ) -> None:
        lengths = [segment.end_seconds - segment.start_seconds for segment in segments]
        axis.broken_barh(
            [(segment.start_seconds, n) for segment, n in zip(segments, lengths, strict=True)],
            (0, 1),
            facecolors=[self._colours[segment.label] for segment in segments],
            linewidth=0,
            antialiased=False,  # otherwise the background shows between bars
        )
        points_per_second = STRIP_POINTS / axis_seconds
        for (first, second), seconds in zip(pairwise(segments), pairwise(lengths), strict=True):
            touch = first.end_seconds == second.start_seconds
            if touch and min(seconds) * points_per_second >= EDGE_POINTS:
                axis.axvline(second.start_seconds, color="white", linewidth=0.8)
        for segment, seconds in zip(segments, lengths, strict=True):
            room = int(seconds * points_per_second / POINTS_PER_CHARACTER)
            lines = textwrap.wrap(segment.label, max(1, room), break_long_words=False)
            if len(lines) <= 2 and all(len(line) <= room for line in lines):
                middle = segment.start_seconds + seconds / 2
                axis.text(middle, 0.48, "\n".join(lines), **NAME_STYLE)
        axis.set_ylim(0, 1)
        axis.set_yticks([0.5], [name], fontweight="bold")
        _strip_frame(axis)
        axis.tick_params(axis="x", length=0, labelbottom=False)

    def _draw_rows(self, axis: Axes, rows: Sequence[int], start_seconds: float) -> None:
        if not rows:
            reason = (
                "no label reaches the threshold" if self._spans.spans else "no valid prediction"
            )
            axis.text(0.5, 0.5, reason, transform=axis.transAxes, ha="center")
        for place, row in enumerate(rows):
            floor = len(rows) - 1 - place
            axis.axhline(floor, color=FAINT, linewidth=0.8, zorder=0)
            times, means, peaks = self._list_steps(row, start_seconds)
            style = {"step": "post", "color": self._colours[self._labels[row]], "linewidth": 0}
            if self._spans.step_seconds:
                highest = floor + ROW_FILL * peaks
                axis.fill_between(times, floor, highest, alpha=HIGHEST_ALPHA, **style)
            axis.fill_between(times, floor, floor + ROW_FILL * means, **style)
        axis.set_ylim(-0.08, max(1, len(rows)))
        centres = [len(rows) - 1 - place + ROW_FILL / 2 for place in range(len(rows))]
        names = [_shorten(self._labels[row], NAME_CHARACTERS) for row in rows]
        axis.set_yticks(centres, names, parse_math=False)
        _strip_frame(axis)


@contextmanager
def timeline_picture(
    path: Path,
    labeller: Labeller,
    *,
    title: str,
    truth: Sequence[Segment] = (),
) -> Iterator[Timeline]:
    """Yield a timeline to add predictions to; the picture is written if the block succeeds.

    Args:
        path: PNG, SVG or PDF by its suffix.
        labeller: makes the predictions.

    Raises:
        OptionError, OutputError: as for `check_picture_path`; or the file cannot be written.
    """
    check_picture_path(path)
    timeline = Timeline(
        labeller.labels, label_colours(labeller.labels), labeller.rate_hz, labeller.threshold
    )
    with output_file(path) as temporary:
        yield timeline
        figure = timeline.draw(title=title, truth=truth)
        figure.savefig(temporary, format=path.suffix[1:].lower(), facecolor="white")


def _strip_frame(axis: Axes) -> None:
    axis.spines[:].set_visible(False)
    axis.tick_params(axis="y", length=0, colors=INK)
    axis.tick_params(axis="x", colors=MUTED)


def _shift(segment: Segment, seconds: float) -> Segment:
    """The segment with times relative to `seconds`."""
    return replace(
        segment,
        start_seconds=segment.start_seconds - seconds,
        end_seconds=segment.end_seconds - seconds,
    )


def _shorten(text: str, characters: int) -> str:
    """Cut the middle out of a text that is too long."""
    if len(text) <= characters:
        return text
    kept = characters - 1
    return f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"
