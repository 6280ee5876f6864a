"""The time of a live source: its own timestamps, unless it has none or they contradict arrival."""

from typing import Generic, TypeVar

from co3d.video.clock import Arrival, PresentationClock

WATCHED_SECONDS = 20.0
"""Servers send up to ten seconds of video at once on connecting, and networks stall for a few."""

SLOWEST_CLOCK = 0.5
"""Seconds that timestamps must advance per second of arrival; a slower clock is taken for wrong."""

T = TypeVar("T")


class LiveClock(Generic[T]):
    """Times for the frames of a live source that never decrease.

    A source without a clock (MJPEG over HTTP, for which FFmpeg assumes 25 frames a second) gets the
    times of arrival, from 0 on. So does a source whose timestamps advance less than half as fast as
    its frames arrive, measured over 20 s of which more than half were spent waiting for it.
    Timestamps that advance faster than arrival are believed, as recordings are sent at once.

    Args:
        interval_seconds: time between two frames where the source does not say.
        has_timestamps: whether the container carries any.

    Attributes:
        by_arrival: whether the times are those of arrival.
        notices: what is odd about the source's clock, as predicates whose subject is the source.
        jumps_back, jump_back_seconds: as of `PresentationClock`.
    """

    def __init__(self, interval_seconds: float, *, has_timestamps: bool) -> None:
        self.by_arrival = not has_timestamps
        self.notices: list[str] = []
        self._stamps = PresentationClock[T](interval_seconds)
        self._last_seconds = 0.0
        self._origin: float | None = None
        self._watched: tuple[float, Arrival] | None = None
        if not has_timestamps:
            self.notices.append("carries no clock: frames have the times of their arrival")

    @property
    def jumps_back(self) -> int:
        """Real jumps back of timestamps so far."""
        return self._stamps.jumps_back

    @property
    def jump_back_seconds(self) -> float:
        """How far the latest of them went."""
        return self._stamps.jump_back_seconds

    def resume(self) -> None:
        """Say that the next timestamp comes from a new connection; no frame may be held."""
        self._stamps.resume()
        self._watched = None

    def put(self, item: T, pts_seconds: float | None, arrival: Arrival) -> list[tuple[T, float]]:
        """Take the next frame; return those whose times are settled, in order."""
        if self.by_arrival:
            return [(item, self._time_arrival(arrival))]
        settled = self._stamps.put(item, pts_seconds, arrival)
        if settled:
            self._last_seconds = settled[-1][1]
            self._compare(arrival)
        if self.by_arrival:
            settled += self._stamps.release()
            self._last_seconds = settled[-1][1]
        return settled

    def release(self) -> list[tuple[T, float]]:
        """Return the frames still held, because none follow on this connection."""
        return self._stamps.release()

    def _time_arrival(self, arrival: Arrival) -> float:
        if self._origin is None:
            self._origin = self._last_seconds - arrival.seconds
        self._last_seconds = max(self._last_seconds, self._origin + arrival.seconds)
        return self._last_seconds

    def _compare(self, arrival: Arrival) -> None:
        """Compare the timestamps with arrival, once enough time has passed on both."""
        if self._watched is None:
            self._watched = self._last_seconds, arrival
        since_seconds, since = self._watched
        arrived_seconds = arrival.seconds - since.seconds
        if arrived_seconds < WATCHED_SECONDS:
            return
        speed = (self._last_seconds - since_seconds) / arrived_seconds
        waited = (arrival.waited_seconds - since.waited_seconds) / arrived_seconds
        self._watched = None
        if speed < SLOWEST_CLOCK and waited > 0.5:
            self.by_arrival = True
            self._origin = self._last_seconds - arrival.seconds
            self.notices.append(
                f"has a clock that advances {speed:.2g} s a second: from "
                f"{self._last_seconds:.1f} s on frames have the times of their arrival"
            )
