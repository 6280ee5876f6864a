"""What a network said over time, summed up so far that a picture can show it."""

from collections import Counter
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from co3d.engine import Prediction, Segment

MOST_SPANS = 1500
"""A timeline is about 1450 pixels wide: more spans would not be seen."""

TOUCHING_SECONDS = 1e-6


@dataclass(frozen=True)
class Span:
    """What was said from one moment to another.

    Attributes:
        start_seconds, end_seconds: presentation times.
        held_seconds: for how long of it something was said: less where a gap lies inside.
        weighted: (K,) probabilities times the seconds for which they held, summed up.
        highest: (K,) the highest probabilities.
        label_seconds: label -> seconds for which it was shown; None is for no label.
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
        """What was shown for longest; of equals the first."""
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
    """At most 1500 spans of time, in which more and more predictions are summed up.

    While there are few, each prediction has its own span, from its time to that of the next one.
    The last before a gap, or before one that is not valid, lasts for one frame at most. When they
    are too many, all that begin in the same one of 750 equal parts of the time so far become one.

    Args:
        frame_seconds: how long one frame lasts.
        threshold: lower probabilities count as 0.

    Attributes:
        spans: of valid predictions, in order of time; the latest prediction waits for the next.
        step_seconds: within so long a time predictions are summed up; 0 while they are not.
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
        """Take in the next prediction; they come in order of time."""
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
        """Let the latest prediction last for one frame: none follows it."""
        if self._latest is not None:
            self._append(self._latest, self._latest.frame.pts_seconds + self._frame_seconds)
            self._latest = None

    def segments(self) -> list[Segment]:
        """Runs of one label, each span under the label that it held for longest."""
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
        if seconds <= 0:  # a held picture that was described twice
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
        """Spans of the same one are summed up."""
        first = self.start_seconds or 0.0
        if not self.step_seconds:
            return span.start_seconds
        return (span.start_seconds - first) // self.step_seconds


def _join_all(spans: list[Span]) -> Span:
    joined = spans[0]
    for span in spans[1:]:
        joined = joined.join(span)
    return joined
