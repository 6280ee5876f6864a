"""Aggregate predictions over time into as many spans as a picture can show."""

from collections import Counter
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from co3d.engine import Prediction, Segment

MOST_SPANS = 1500
"""A timeline is about 1450 pixels wide, so more spans would not be visible."""

TOUCHING_SECONDS = 1e-6


@dataclass(frozen=True)
class Span:
    """The predictions of a time interval.

    Attributes:
        start_seconds, end_seconds: presentation times.
        held_seconds: duration with a prediction, which is shorter than the span if it has a gap.
        weighted: (K,) sum of probabilities weighted by their durations in seconds.
        highest: (K,) the highest probabilities.
        label_seconds: label -> seconds for which it was shown; None stands for no label.
    """

    start_seconds: float
    end_seconds: float
    held_seconds: float
    weighted: np.ndarray
    highest: np.ndarray
    label_seconds: Counter[str | None]

    @property
    def mean(self) -> np.ndarray:
        """(K,) mean probabilities."""
        return self.weighted / self.held_seconds

    @property
    def label(self) -> str | None:
        """The label that was shown for longest; the first one if several are equal."""
        return max(self.label_seconds, key=self.label_seconds.__getitem__)

    def touches(self, later: "Span") -> bool:
        """Whether a later span follows without a gap."""
        return later.start_seconds - self.end_seconds < TOUCHING_SECONDS

    def join(self, later: "Span") -> "Span":
        """Both as one."""
        return Span(
            self.start_seconds,
            later.end_seconds,
            self.held_seconds + later.held_seconds,
            self.weighted + later.weighted,
            np.maximum(self.highest, later.highest),
            self.label_seconds + later.label_seconds,
        )


class TimelineSpans:
    """At most 1500 time spans, which aggregate more predictions as time goes on.

    At first, each prediction has its own span, from its time to the next one's. The last one before
    a gap, or before an invalid one, lasts for one frame at most. When there are too many, those
    that begin in the same of 750 equal intervals are merged.

    Args:
        frame_seconds: how long one frame lasts.
        threshold: lower probabilities are treated as 0.

    Attributes:
        spans: of valid predictions, in time order; the latest prediction is added with the next.
        step_seconds: length of the intervals that are merged; 0 while none are.
        start_seconds, end_seconds: time of the first prediction, and the end of the latest one.
    """

    def __init__(self, frame_seconds: float, threshold: float) -> None:
        self.spans: list[Span] = []
        self.step_seconds = 0.0
        self.start_seconds: float | None = None
        self.end_seconds = 0.0
        self._frame_seconds = frame_seconds
        self._threshold = np.float32(threshold)
        self._latest: Prediction | None = None

    def add(self, prediction: Prediction) -> None:
        """Add the next prediction, in time order."""
        pts_seconds = prediction.frame.pts_seconds
        if self.start_seconds is None:
            self.start_seconds = pts_seconds
        if self._latest is not None:
            is_broken = prediction.gap_seconds or not prediction.valid
            longest = self._latest.frame.pts_seconds + self._frame_seconds
            self._append(self._latest, min(pts_seconds, longest) if is_broken else pts_seconds)
        self._latest = prediction if prediction.valid else None
        self.end_seconds = pts_seconds + self._frame_seconds

    def finish(self) -> None:
        """End the latest prediction after one frame, because none follows."""
        if self._latest is not None:
            self._append(self._latest, self._latest.frame.pts_seconds + self._frame_seconds)
            self._latest = None

    def segments(self) -> list[Segment]:
        """Runs of one label, where each span counts with the label that was shown for longest."""
        segments: list[Segment] = []
        previous: Span | None = None
        for span in self.spans:
            label = span.label
            if label is not None:
                start_seconds = span.start_seconds
                if previous and previous.label == label and previous.touches(span):
                    start_seconds = segments.pop().start_seconds
                segments.append(Segment(label, start_seconds, span.end_seconds))
            previous = span
        return segments

    def _append(self, prediction: Prediction, end_seconds: float) -> None:
        start_seconds = prediction.frame.pts_seconds
        seconds = end_seconds - start_seconds
        if seconds <= 0:  # a repeated picture
            return
        probabilities = prediction.probabilities
        shown = np.where(probabilities >= self._threshold, probabilities, np.float32(0))
        span = Span(
            start_seconds,
            end_seconds,
            seconds,
            shown * np.float32(seconds),
            shown,
            Counter({prediction.label: seconds}),
        )
        if self.spans and self._cell(self.spans[-1]) == self._cell(span):
            self.spans[-1] = self.spans[-1].join(span)
        else:
            self.spans.append(span)
        if len(self.spans) > MOST_SPANS:
            whole_seconds = self.spans[-1].start_seconds - self.spans[0].start_seconds
            self.step_seconds = 2 * whole_seconds / MOST_SPANS
            self.spans = [_join_all(list(spans)) for _, spans in groupby(self.spans, self._cell)]

    def _cell(self, span: Span) -> float:
        """Index of the interval that a span falls into."""
        first = self.start_seconds or 0.0
        if not self.step_seconds:
            return span.start_seconds
        return (span.start_seconds - first) // self.step_seconds


def _join_all(spans: list[Span]) -> Span:
    joined = spans[0]
    for span in spans[1:]:
        joined = joined.join(span)
    return joined
