"""Presentation times that never decrease, whatever timestamps a container has."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from co3d.video.pace import Pace

RESTART_SECONDS = 0.5
"""A timestamp this much before the previous one is a reset of the clock; a smaller step is
jitter."""

JUMP_SECONDS = 0.5
"""A timestamp this much after the previous one is a jump, unless frames usually are as far
apart."""

CONFIRMING_FRAMES = 3
"""A jump is accepted once so many frames confirm it; one or two are wrong timestamps."""

LAST_JUMP_SECONDS = 60.0
"""No frame follows the last one to confirm a jump, so a jump longer than this is not accepted
there."""

RESUMED_SECONDS = 2.0
"""After a reconnection, a clock that kept running differs from the time that passed by less than
this."""

T = TypeVar("T")


@dataclass(frozen=True)
class Arrival:
    """When a packet came.

    Attributes:
        seconds: on a steady clock.
        waited_seconds: total time spent waiting for packets; the rest went into decoding and into
            waiting for the consumer.
    """

    seconds: float
    waited_seconds: float


NO_ARRIVAL = Arrival(0.0, 0.0)


@dataclass(frozen=True)
class _Frame(Generic[T]):
    item: T
    pts_seconds: float | None
    arrival: Arrival


class PresentationClock(Generic[T]):
    """Turn the timestamps of a container into times that never decrease.

    - A missing timestamp becomes the previous time plus one frame interval.
    - One slightly before its predecessor is jitter: the previous time is repeated.
    - One that jumps ahead or far back is held until two more frames came. If they continue from it,
      the jump is real; if they return, the timestamp was wrong, and the frame gets a time between
      its neighbours. The first frame is held too, and is wrong if the next two lie far before it.
    - A real jump ahead is kept. A real jump back is a clock that was reset (a wrapped counter, a
      joined file): this frame and all later ones are shifted to continue one interval later, or
      by the time spent waiting for it, if that is longer than a jump.
    - After `resume`, a clock that did not keep running is shifted by the time that passed.

    Args:
        interval_seconds: time between two frames where the container does not say.

    Attributes:
        notices: always empty; see `LiveClock`.
        jumps_back: real jumps back so far, without those at reconnections.
        jump_back_seconds: length of the latest of them.
    """

    notices: Sequence[str] = ()

    def __init__(self, interval_seconds: float) -> None:
        self.jumps_back, self.jump_back_seconds = 0, 0.0
        self._interval_seconds = interval_seconds
        self._pace = Pace(interval_seconds, math.inf)
        self._waiting: deque[_Frame[T]] = deque()
        self._last_seconds: float | None = None
        self._last_arrival = NO_ARRIVAL
        self._shift_seconds = 0.0
        self._is_resumed = False

    def resume(self) -> None:
        """Say that the next timestamp comes from a new connection; no frame may be held."""
        self._is_resumed = True

    def put(
        self, item: T, pts_seconds: float | None, arrival: Arrival = NO_ARRIVAL
    ) -> list[tuple[T, float]]:
        """Take the next frame; return those whose times are settled, in order.

        Args:
            item: the frame.
            pts_seconds: as the container says; None where it is silent.
            arrival: when the frame came; used only after `resume` and at jumps back.
        """
        self._waiting.append(_Frame(item, pts_seconds, arrival))
        return self._settle(is_end=False)

    def release(self) -> list[tuple[T, float]]:
        """Return the frames still held, because none follow on this connection."""
        return self._settle(is_end=True)

    def _settle(self, *, is_end: bool) -> list[tuple[T, float]]:
        settled: list[tuple[T, float]] = []
        while self._waiting:
            seconds = self._judge(is_end=is_end)
            if seconds is None:
                break
            frame = self._waiting.popleft()
            if self._last_seconds is not None:
                self._pace.add(seconds - self._last_seconds)
            self._last_seconds = seconds
            self._last_arrival = frame.arrival
            self._is_resumed = False
            settled.append((frame.item, seconds))
        return settled

    def _judge(self, *, is_end: bool) -> float | None:
        """The time of the first held frame; None while it cannot be decided."""
        frame, last = self._waiting[0], self._last_seconds
        if last is None:
            return self._judge_first(is_end=is_end)
        expected = last + self._interval_seconds
        if self._is_resumed:
            passed_seconds = frame.arrival.seconds - self._last_arrival.seconds
            expected = last + max(self._interval_seconds, passed_seconds)
        if frame.pts_seconds is None:
            return expected
        seconds = frame.pts_seconds + self._shift_seconds
        if self._is_resumed:
            ran_on = seconds >= last and abs(seconds - expected) <= RESUMED_SECONDS
            return seconds if ran_on else self._shift(seconds, expected)
        if self._follows(seconds):
            return max(seconds, last)
        return self._judge_jump(seconds, last, is_end=is_end)

    def _judge_first(self, *, is_end: bool) -> float | None:
        """The time of the very first frame: its own, unless the next two lie far behind it."""
        first, *later = [frame.pts_seconds for frame in self._waiting]
        if first is None:
            return 0.0
        behind = [seconds for seconds in later if seconds is not None]
        behind = [seconds for seconds in behind if seconds < first - RESTART_SECONDS]
        if len(behind) == len(later) < CONFIRMING_FRAMES - 1 and not is_end:
            return None
        if len(behind) < CONFIRMING_FRAMES - 1:
            return first
        return behind[0] - self._interval_seconds

    def _judge_jump(self, seconds: float, last: float, *, is_end: bool) -> float | None:
        for place, frame in enumerate(list(self._waiting)[1:], start=1):
            if frame.pts_seconds is None:
                continue
            later = frame.pts_seconds + self._shift_seconds
            if self._follows(later):
                return last + max(0.0, later - last) / (place + 1)
            if later < seconds - RESTART_SECONDS:
                return last + self._interval_seconds
        if len(self._waiting) < CONFIRMING_FRAMES:
            if not is_end:
                return None
            if len(self._waiting) == 1 and abs(seconds - last) > LAST_JUMP_SECONDS:
                return last + self._interval_seconds
        return seconds if seconds > last else self._go_on_over_jump_back(seconds, last)

    def _go_on_over_jump_back(self, seconds: float, last: float) -> float:
        """The time of a frame whose clock jumped back: only arrival tells how much time passed."""
        self.jumps_back += 1
        self.jump_back_seconds = last - seconds
        since = self._last_arrival
        silent_seconds = self._waiting[0].arrival.waited_seconds - since.waited_seconds
        passed_seconds = self._interval_seconds
        if not self._follows(last + silent_seconds):
            passed_seconds = silent_seconds
        return self._shift(seconds, last + passed_seconds)

    def _follows(self, seconds: float) -> bool:
        """Whether a time continues from the last one without a jump."""
        last = self._last_seconds or 0.0
        limit = max(JUMP_SECONDS, self._pace.longest_without_gap(0.0))
        return last - RESTART_SECONDS <= seconds <= last + limit

    def _shift(self, seconds: float, target_seconds: float) -> float:
        """Shift this time and all later ones so that it becomes `target_seconds`."""
        self._shift_seconds += target_seconds - seconds
        return target_seconds
