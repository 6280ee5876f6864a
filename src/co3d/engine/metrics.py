"""What a track has done so far, in numbers."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from co3d.engine.prediction import Prediction

RECENT_STEPS = 1000


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
        pictures: that came. dropped_frames: of the track and its source, thrown away.
        steps: of the network. predictions: made.
        gaps: times for which there was no picture.
        queue: from a frame's arrival in the engine to its step.
        step: preprocessing and step.
        latency: from a frame's arrival in the engine to its prediction.
        lag_ms: of the latest prediction, from the frame's arrival at this machine; None for files.
        rate_hz: predictions per second over those times; 0 before the second one.
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
    """Counts what a track does. Not safe for threads: the engine holds a lock."""

    def __init__(self) -> None:
        self.steps = 0
        self.gaps = 0
        self._predictions = 0
        self._lag_ms: float | None = None
        self._times_ms: deque[tuple[float, float]] = deque(maxlen=RECENT_STEPS)
        self._made_seconds: deque[float] = deque(maxlen=RECENT_STEPS)

    def add(self, prediction: Prediction, now_seconds: float) -> None:
        """Count a prediction, made at this time on the monotonic clock."""
        self._predictions += 1
        self._lag_ms = prediction.lag_ms
        self.gaps += prediction.gap_seconds > 0
        self._times_ms.append((prediction.queue_ms, prediction.latency_ms))
        self._made_seconds.append(now_seconds)

    def read(self, pictures: int, dropped_frames: int) -> TrackMetrics:
        """All counts, with those that others keep."""
        times = np.array(self._times_ms, np.float64).reshape(-1, 2)
        made = self._made_seconds
        spent_seconds = made[-1] - made[0] if made else 0.0
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
            rate_hz=(len(made) - 1) / spent_seconds if spent_seconds else 0.0,
        )


def _find_quantiles(times_ms: np.ndarray) -> Quantiles:
    if not len(times_ms):
        return Quantiles(0.0, 0.0, 0.0)
    return Quantiles(*np.percentile(times_ms, (50, 95, 99)).tolist())
