"""Summary of a labelled video: counts, times and segments."""

from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from co3d.engine.prediction import Prediction

RECENT_STEPS = 10_000
RECENT_SEGMENTS = 10_000


@dataclass(frozen=True)
class Segment:
    """A stretch of video with one label, from `start_seconds` up to `end_seconds`."""

    label: str
    start_seconds: float
    end_seconds: float


class LabellingSummary:
    """Counts, times and segments of a labelled video, in bounded memory.

    Args:
        rate_hz: frames per second that the network sees; the last segment ends one frame after
            its last prediction.

    Attributes:
        predictions: all predictions. valid_predictions: those that were valid.
        dropped_frames: frames dropped.
        gaps: gaps in time. longest_gap_seconds: the longest of them.
        undersampled_predictions: predictions made while most frames were repeats.
        elapsed_seconds: wall clock time from the start to the latest prediction.
        segments: runs of predictions with the same label, the latest 10 000. Gaps and predictions
            without a label end a segment.
    """

    def __init__(self, rate_hz: float) -> None:
        self.predictions = 0
        self.valid_predictions = 0
        self.dropped_frames = 0
        self.gaps = 0
        self.longest_gap_seconds = 0.0
        self.undersampled_predictions = 0
        self._is_broken = False
        self.segments: deque[Segment] = deque(maxlen=RECENT_SEGMENTS)
        self._frame_seconds = 1 / rate_hz
        self._step_ms: deque[float] = deque(maxlen=RECENT_STEPS)
        self._started = perf_counter()
        self.elapsed_seconds = 0.0

    def add(self, prediction: Prediction) -> None:
        """Add a prediction; they must come in order of time."""
        self.predictions += 1
        self.dropped_frames = prediction.dropped_frames
        self._step_ms.append(prediction.step_ms)
        self.elapsed_seconds = perf_counter() - self._started
        self.undersampled_predictions += prediction.is_undersampled
        if prediction.gap_seconds:
            self.gaps += 1
            self.longest_gap_seconds = max(self.longest_gap_seconds, prediction.gap_seconds)
        self.valid_predictions += prediction.valid
        if prediction.gap_seconds or prediction.label is None:
            self._is_broken = True
        if prediction.label is not None:
            self._extend_segments(prediction.label, prediction.frame.pts_seconds)

    def _extend_segments(self, label: str, pts_seconds: float) -> None:
        start_seconds = pts_seconds
        if self.segments and not self._is_broken:
            last = self.segments.pop()
            if last.label == label:
                start_seconds = last.start_seconds
            else:
                self.segments.append(Segment(last.label, last.start_seconds, pts_seconds))
        self.segments.append(Segment(label, start_seconds, pts_seconds + self._frame_seconds))
        self._is_broken = False

    @property
    def frames_per_second(self) -> float:
        """Predictions per second of wall clock time, including reading, drawing and writing."""
        return self.predictions / self.elapsed_seconds if self.predictions else 0.0

    @property
    def step_ms_median(self) -> float:
        """Median time of a step over the latest 10 000 steps, in milliseconds."""
        return float(np.median(self._step_ms)) if self._step_ms else 0.0

    @property
    def step_ms_p95(self) -> float:
        """95th percentile of the time of a step over the latest 10 000, in milliseconds."""
        return float(np.percentile(self._step_ms, 95)) if self._step_ms else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "predictions": self.predictions,
            "valid_predictions": self.valid_predictions,
            "dropped_frames": self.dropped_frames,
            "gaps": self.gaps,
            "longest_gap_seconds": self.longest_gap_seconds,
            "undersampled_predictions": self.undersampled_predictions,
            "frames_per_second": self.frames_per_second,
            "step_ms_median": self.step_ms_median,
            "step_ms_p95": self.step_ms_p95,
            "segments": [vars(segment) for segment in self.segments],
        }
