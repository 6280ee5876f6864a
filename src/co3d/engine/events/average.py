"""The mean of what a value was in the latest seconds."""

from collections import deque


class MovingAverage:
    """The mean over time of values that each have held since the one before.

    So it depends on the times of the values alone, not on how often they are told. The first one
    counts as if it had held for long.

    Args:
        seconds: how far back it reaches, above 0.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: deque[tuple[float, float, float]] = deque()  # from, until, value

    def reset(self) -> None:
        """Forget all values: the next one is the mean."""
        self._held.clear()

    def add(self, pts_seconds: float, value: float) -> float:
        """Take in a value; the mean up to its time, which never falls."""
        since = self._held[-1][1] if self._held else pts_seconds - self._seconds
        self._held.append((since, pts_seconds, value))
        oldest = pts_seconds - self._seconds
        while self._held[0][1] <= oldest and len(self._held) > 1:
            self._held.popleft()
        weights = [until - max(start, oldest) for start, until, _ in self._held]
        pairs = zip(weights, self._held, strict=True)
        return sum(weight * held[2] for weight, held in pairs) / sum(weights)
