"""Presentation times that never fall, whatever a container says."""

RESTART_SECONDS = 0.5
"""A timestamp this far behind its predecessor belongs to a clock that started again."""


class PresentationClock:
    """Turn the timestamps of a container into times that never fall.

    A missing timestamp becomes the previous time plus one frame interval. One that lies a little
    behind its predecessor is jitter: the previous time is repeated. One that lies far behind, or
    behind at all after `resume`, comes from a clock that started again (a wrapped counter, a joined
    file, a reconnected camera): it and all that follow are shifted to go on one interval later.

    Args:
        interval_seconds: time between two frames where the container does not say.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._last_seconds: float | None = None
        self._shift_seconds = 0.0
        self._resumed = False

    def resume(self) -> None:
        """Say that the next timestamp comes from a new connection."""
        self._resumed = True

    def stamp(self, pts_seconds: float | None) -> float:
        """Return the presentation time of the next frame in seconds."""
        seconds = self._follow(pts_seconds)
        self._last_seconds = seconds
        self._resumed = False
        return seconds

    def _follow(self, pts_seconds: float | None) -> float:
        last = self._last_seconds
        if last is None:
            return 0.0 if pts_seconds is None else pts_seconds
        if pts_seconds is None:
            return last + self._interval_seconds
        seconds = pts_seconds + self._shift_seconds
        if seconds >= last:
            return seconds
        if self._resumed or last - seconds > RESTART_SECONDS:
            self._shift_seconds += last + self._interval_seconds - seconds
            return last + self._interval_seconds
        return last
