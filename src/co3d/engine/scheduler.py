"""Chooses the tracks that step next, by rates and priorities (earliest deadline first).

Every track has a virtual clock, which each of its steps advances by one period, 1 / rate. The track
whose step is due first comes next:

    door, 8 a second   ├──┤├──┤├──┤├──┤        due at 0.125, 0.25, 0.375, 0.5
    yard, 4 a second   ├─────┤├─────┤          due at        0.25,        0.5

If the machine keeps up, the order hardly matters. If it does not, all clocks fall behind real time
together, so that every track gets the same share of its rate. A track that was idle starts at the
others' clocks, and gains nothing for its idle time (start-time fair queueing; Goyal, Vin and Cheng,
SIGCOMM 1996).
"""

import heapq
import itertools
from dataclasses import dataclass
from typing import Generic, TypeVar

from co3d.errors import OptionError

K = TypeVar("K")  # names a track

MOST_IN_A_ROW = 8
"""An offline track steps up to this often before others of its class, because its state then stays
in the core's caches: when eight streams of X3D-S (11 MB each) alternate, a frame takes 7 %
longer."""

# (-priority, is offline): live tracks precede offline ones of the same priority, which have no
# deadline.
_Class = tuple[int, bool]


@dataclass
class _Entry:
    period_seconds: float
    group: _Class
    due_seconds: float = 0.0
    is_ready: bool = False
    number: int = 0  # of its latest heap entry; entries with older numbers are stale
    repeats: int = 0  # steps in a row


class Scheduler(Generic[K]):
    """Chooses among tracks that are ready. Not thread-safe: the engine holds a lock."""

    def __init__(self) -> None:
        self._entries: dict[K, _Entry] = {}
        self._heap: list[tuple[_Class, float, int, K]] = []
        # The virtual clock of each class: the start of the step that was chosen last.
        self._now_seconds: dict[_Class, float] = {}
        self._numbers = itertools.count(1)
        self._ready = 0

    @property
    def ready(self) -> int:
        """How many tracks are ready to step."""
        return self._ready

    def join(self, track: K, rate_hz: float, *, priority: int = 0, is_live: bool = True) -> None:
        """Add a track, which is not ready yet.

        Args:
            track: its name.
            rate_hz: steps per second that it needs, above zero.
            priority: tracks of higher priority always come first.
            is_live: whether its steps have deadlines.
        """
        if track in self._entries:
            raise OptionError(f"cannot join {track}: a track of that name has joined; name another")
        self._entries[track] = _Entry(1 / rate_hz, (-priority, not is_live))

    def leave(self, track: K) -> None:
        """Remove a track, ready or not."""
        self._ready -= self._entries.pop(track).is_ready

    def mark_ready(self, track: K) -> None:
        """Note that the track can step; further calls do nothing."""
        entry = self._entries[track]
        if entry.is_ready:
            return
        entry.is_ready, entry.number = True, next(self._numbers)
        self._advance(entry)
        heapq.heappush(self._heap, (entry.group, entry.due_seconds, entry.number, track))
        self._ready += 1

    def take(self, most: int = 1) -> list[K]:
        """Take up to `most` tracks that step next, most urgent first; they are no longer ready."""
        taken: list[K] = []
        while len(taken) < most and self._heap:
            _, _, number, track = heapq.heappop(self._heap)
            entry = self._entries.get(track)
            if entry is None or not entry.is_ready or entry.number != number:
                continue
            entry.is_ready, entry.repeats = False, 0
            self._begin(entry)
            self._ready -= 1
            taken.append(track)
        return taken

    def repeat(self, track: K) -> bool:
        """Let an offline track that was taken step again at once.

        Its clock advances, so that others of its class catch up afterwards.

        Returns:
            Whether it may: False for live tracks, after eight steps in a row, and while a track of
            a more urgent class is ready.
        """
        entry = self._entries[track]
        _, is_offline = entry.group
        is_urgent = bool(self._heap) and self._heap[0][0] < entry.group
        if not is_offline or is_urgent or entry.repeats + 1 >= MOST_IN_A_ROW:
            return False
        entry.repeats += 1
        self._advance(entry)
        self._begin(entry)
        return True

    def _advance(self, entry: _Entry) -> None:
        """Advance a track's clock by a step."""
        begin = max(entry.due_seconds, self._now_seconds.get(entry.group, 0.0))
        entry.due_seconds = begin + entry.period_seconds

    def _begin(self, entry: _Entry) -> None:
        """Advance the clock of a class to a step that begins."""
        began_seconds = entry.due_seconds - entry.period_seconds
        self._now_seconds[entry.group] = max(self._now_seconds.get(entry.group, 0.0), began_seconds)
