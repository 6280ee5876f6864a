"""When the packets of a live source are due, whatever network and server do with their arrival."""

MEMORY_SECONDS = 15.0
"""Longer than the parts in which servers of HLS send."""

JUMP_SECONDS = 10.0
"""Timestamps that differ so much from those before belong to a clock that started anew."""


class DueTimes:
    """Tells when each packet of a live source should be decoded.

    A packet that came in the middle of a burst has time until its own moment: servers of HLS send
    six seconds of video at once, and the decoder has six seconds for them. A packet is therefore
    due as long after its timestamp as the latest of the last 15 to 30 s was when it came.
    """

    def __init__(self) -> None:
        self._began_seconds = -float("inf")
        self._before_seconds = self._offset_seconds = -float("inf")
        self._last_seconds: float | None = None

    def judge(self, seconds: float, arrival_seconds: float) -> float:
        """When the next packet is due, on the clock of its arrival; not before that.

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
