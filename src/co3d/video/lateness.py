"""When the packets of a live source are due, however server and network bunch them up."""

MEMORY_SECONDS = 15.0
"""Longer than the segments in which HLS servers send."""

JUMP_SECONDS = 10.0
"""A timestamp that differs from the previous one by this much belongs to a clock that was reset."""


class DueTimes:
    """Finds when each packet of a live source should be decoded.

    Packets of a burst are due at their own moments: HLS servers send six seconds of video at once,
    and the decoder has six seconds to decode it. A packet is therefore due at its timestamp plus
    the largest arrival delay of the last 15 to 30 s.
    """

    def __init__(self) -> None:
        self._began_seconds = -float("inf")
        self._before_seconds = self._offset_seconds = -float("inf")
        self._last_seconds: float | None = None

    def find_due_time(self, seconds: float, arrival_seconds: float) -> float:
        """When the next packet is due, on the clock of its arrival; never before its arrival.

        Args:
            seconds: its timestamp, in the order of decoding.
            arrival_seconds: when it came, on a steady clock.
        """
        offset_seconds = arrival_seconds - seconds
        last_seconds, self._last_seconds = self._last_seconds, seconds
        if last_seconds is None or abs(seconds - last_seconds) > JUMP_SECONDS:
            self._before_seconds = self._offset_seconds = offset_seconds
            self._began_seconds = arrival_seconds
        elif arrival_seconds - self._began_seconds > MEMORY_SECONDS:
            self._before_seconds = self._offset_seconds
            self._offset_seconds = offset_seconds
            self._began_seconds = arrival_seconds
        self._offset_seconds = max(self._offset_seconds, offset_seconds)
        return seconds + max(self._before_seconds, self._offset_seconds)
