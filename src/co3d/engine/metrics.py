"""Metrics of a track: counts and times."""

from array import array
from dataclasses import dataclass

import numpy as np

from co3d.engine.prediction import Prediction

RECENT_STEPS = 1000
_COLUMNS = 3


@dataclass(frozen=True)
class Quantiles:
    """Median, 95th and 99th percentile, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class TrackMetrics:
    """Counts of a track since it joined, and times of its latest 1000 predictions.

    Attributes:
        pictures: pictures that arrived. dropped_frames: frames dropped by the track and its source.
        steps: steps of the network. predictions: predictions made.
        gaps: gaps in time.
        queue: time from a frame's arrival in the engine to its step.
        step: time of preprocessing and step.
        latency: time from a frame's arrival in the engine to its prediction.
        lag_ms: time from the arrival of the newest frame at this machine to the latest prediction;
            None for files.
        rate_hz: predictions per second, over those 1000; 0 before the second one.
    """

    pictures: int
    dropped_frames: int
    steps: int
    predictions: int
    gaps: int
    queue: Quantiles
    step: Quantiles
    latency: Quantiles
    lag_ms: float | None
    rate_hz: float


class TrackCounts:
    """Collects a track's metrics. Not thread-safe: the engine holds a lock."""

    def __init__(self) -> None:
        self.steps = 0
        self.gaps = 0
        self._predictions = 0
        self._lag_ms: float | None = None
        # Three numbers per prediction, the newest in the place of the oldest: 24 KB, where Python's
        # own numbers took 90 KB a track.
        self._recent = array("d")

    def add(self, prediction: Prediction, now_seconds: float) -> None:
        """Add a prediction, made at this time on the monotonic clock."""
        place = _COLUMNS * (self._predictions % RECENT_STEPS)
        row = array("d", (prediction.queue_ms, prediction.latency_ms, now_seconds))
        self._recent[place : place + _COLUMNS] = row
        self._predictions += 1
        self._lag_ms = prediction.lag_ms
        self.gaps += prediction.gap_seconds > 0

    def read(self, pictures: int, dropped_frames: int) -> TrackMetrics:
        """The metrics, including two counts that are kept elsewhere."""
        recent = np.array(self._recent).reshape(-1, _COLUMNS)
        times, made_seconds = recent[:, :2], recent[:, 2]
        spent_seconds = float(np.ptp(made_seconds)) if len(recent) else 0.0
        return TrackMetrics(
            pictures=pictures,
            dropped_frames=dropped_frames,
            steps=self.steps,
            predictions=self._predictions,
            gaps=self.gaps,
            queue=_find_quantiles(times[:, 0]),
            step=_find_quantiles(times[:, 1]),
            latency=_find_quantiles(times.sum(1)),
            lag_ms=self._lag_ms,
            rate_hz=(len(recent) - 1) / spent_seconds if spent_seconds else 0.0,
        )


def _find_quantiles(times_ms: np.ndarray) -> Quantiles:
    if not len(times_ms):
        return Quantiles(0.0, 0.0, 0.0)
    return Quantiles(*np.percentile(times_ms, (50, 95, 99)).tolist())
