"""A moving average over time."""

from collections import deque


class MovingAverage:
    """A time-weighted mean over the latest seconds.

    Each value counts for the time since the value before it, so that the mean does not depend on
    the rate of values. The first value counts for the whole window.

    Args:
        seconds: the length of the window, above 0.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: deque[tuple[float, float, float]] = deque()  # from, until, value

    def reset(self) -> None:
        """Discard all values, so that the next one is the mean."""
        self._held.clear()

    def add(self, pts_seconds: float, value: float) -> float:
        """Add a value, and return the mean up to its time; times must not decrease."""
        since = self._held[-1][1] if self._held else pts_seconds - self._seconds
        self._held.append((since, pts_seconds, value))
        oldest = pts_seconds - self._seconds
        while self._held[0][1] <= oldest and len(self._held) > 1:
            self._held.popleft()
        weights = [until - max(start, oldest) for start, until, _ in self._held]
        pairs = zip(weights, self._held, strict=True)
        return sum(weight * held[2] for weight, held in pairs) / sum(weights)
