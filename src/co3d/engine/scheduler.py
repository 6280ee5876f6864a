"""Which tracks step next. It knows names, rates and priorities, and no tensors.

Every track has a clock of its own that each of its steps moves on by one period, 1 / rate. The
track whose step is due first on that clock comes next (earliest deadline first):

    door, 8 a second   ├──┤├──┤├──┤├──┤        due at 0.125, 0.25, 0.375, 0.5
    yard, 4 a second   ├─────┤├─────┤          due at        0.25,        0.5

Where the machine keeps up, the order hardly matters. Where it does not, all clocks fall behind the
real time together, so that every track gets the same share of its rate. A track that had nothing to
step for a while starts at the clocks of the others, and claims nothing for the time in which it
rested (start-time fair queueing; Goyal, Vin and Cheng, SIGCOMM 1996).
"""

import heapq
import itertools
from dataclasses import dataclass
from typing import Generic, TypeVar

from co3d.errors import OptionError

K = TypeVar("K")  # names a track

MOST_IN_A_ROW = 8
"""So often an offline track steps before others of its class. Its state stays in the core's caches:
of eight streams of X3D-S, 11 MB each, that step in turn, a frame takes 7 % longer than of one."""

# Live tracks come before offline ones of the same priority: those have no deadline.
_Class = tuple[int, bool]


@dataclass
class _Entry:
    period_seconds: float
    group: _Class
    due_seconds: float = 0.0
    is_ready: bool = False
    turn: int = 0  # of the latest place in the heap, so that older ones count no more
    again: int = 0  # steps since others had a chance


class Scheduler(Generic[K]):
    """Chooses among tracks that are ready. Not safe for threads: the engine holds a lock."""

    def __init__(self) -> None:
        self._entries: dict[K, _Entry] = {}
        self._heap: list[tuple[_Class, float, int, K]] = []
        # On the clock of each class, when the step began that was chosen last.
        self._now_seconds: dict[_Class, float] = {}
        self._turns = itertools.count(1)
        self._ready = 0

    @property
    def ready(self) -> int:
        """How many tracks are ready to step."""
        return self._ready

    def join(self, track: K, rate_hz: float, *, priority: int = 0, is_live: bool = True) -> None:
        """Add a track, which is not ready.

        Args:
            track: its name.
            rate_hz: steps per second that it needs, above zero.
            priority: tracks of a higher one come first, whatever the others wait for.
            is_live: whether its steps have deadlines.
        """
        if track in self._entries:
            raise OptionError(f"cannot join {track}: a track of that name has joined; name another")
        self._entries[track] = _Entry(1 / rate_hz, (-priority, not is_live))

    def leave(self, track: K) -> None:
        """Forget a track, ready or not."""
        self._ready -= self._entries.pop(track).is_ready

    def mark_ready(self, track: K) -> None:
        """The track can step; nothing changes where that is known."""
        entry = self._entries[track]
        if entry.is_ready:
            return
        entry.is_ready, entry.turn = True, next(self._turns)
        self._advance(entry)
        heapq.heappush(self._heap, (entry.group, entry.due_seconds, entry.turn, track))
        self._ready += 1

    def take(self, most: int = 1) -> list[K]:
        """The tracks that step next, most urgent first, at most so many; they are ready no more."""
        taken: list[K] = []
        while len(taken) < most and self._heap:
            _, _, turn, track = heapq.heappop(self._heap)
            entry = self._entries.get(track)
            if entry is None or not entry.is_ready or entry.turn != turn:
                continue
            entry.is_ready, entry.again = False, 0
            self._begin(entry)
            self._ready -= 1
            taken.append(track)
        return taken

    def take_again(self, track: K) -> bool:
        """Let an offline track that was taken step once more at once, as far as that is fair.

        Its clock moves on as ever, so that others of its class catch up afterwards.

        Returns:
            Whether it may: False of live tracks, after eight steps in a row, and where a track of a
            more urgent class is ready.
        """
        entry = self._entries[track]
        _, is_offline = entry.group
        is_urgent = bool(self._heap) and self._heap[0][0] < entry.group
        if not is_offline or is_urgent or entry.again + 1 >= MOST_IN_A_ROW:
            return False
        entry.again += 1
        self._advance(entry)
        self._begin(entry)
        return True

    def _advance(self, entry: _Entry) -> None:
        """Move a track's clock on by a step."""
        begin = max(entry.due_seconds, self._now_seconds.get(entry.group, 0.0))
        entry.due_seconds = begin + entry.period_seconds

    def _begin(self, entry: _Entry) -> None:
        """Move the clock of a class on to a step that begins."""
        began_seconds = entry.due_seconds - entry.period_seconds
        self._now_seconds[entry.group] = max(self._now_seconds.get(entry.group, 0.0), began_seconds)
