"""Visitors: clients whose own pictures are labelled, each in a track of the engine."""

import itertools
import threading
from collections.abc import Callable

import numpy as np

from co3d.engine import Engine, Results, Track
from co3d.engine.results import ResultItem
from co3d.errors import EngineFullError
from co3d.runtime import Snapshot

CAPACITY = 4096
DECODING_MS = 3.0
"""Processor time that decoding takes for each step: of two JPEGs of 640 by 360 pixels."""

MOST_PICTURES_PER_STEP = 2.5
Taker = Callable[[ResultItem], None]


class Visit:
    """One visitor's stream. Made by `Visits.open`; any thread may use it, but one pushes.

    Attributes:
        name: of its track. rate_hz: frames per second that the network sees.
        skipped_pictures: that came more often than the network needs them.
    """

    def __init__(self, track: Track, on_close: Callable[[str], None]) -> None:
        self.name, self.rate_hz = track.name, track.rate_hz
        self.skipped_pictures = 0
        self._track, self._on_close = track, on_close
        self._last_seconds = float("-inf")

    def wants(self, pts_seconds: float) -> bool:
        """Whether a picture of this time is needed, so that others need not be decoded."""
        ahead_seconds = pts_seconds - self._last_seconds
        is_wanted = ahead_seconds * self.rate_hz * MOST_PICTURES_PER_STEP >= 1
        self.skipped_pictures += not is_wanted
        return is_wanted

    def push(self, picture: np.ndarray, pts_seconds: float) -> None:
        """Give the next picture; see `Track.push` for errors."""
        self._last_seconds = pts_seconds
        self._track.push(picture, pts_seconds)

    def reset(self) -> None:
        """Let a new video begin with the next picture."""
        self._last_seconds = float("-inf")
        self._track.reset()

    def close(self) -> None:
        """Give the place back; twice is once."""
        self._track.close()
        self._on_close(self.name)


class Visits:
    """All visitors' streams.

    Args:
        engine: that labels. most: visitors at a time.

    Attributes:
        opened: how many there have been. refused: for want of room.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self.opened = self.refused = 0
        self._engine, self._most = engine, most
        self._numbers = itertools.count(1)
        self._results = Results(CAPACITY)
        self._takers: dict[str, Taker] = {}
        self._lock = threading.Lock()
        self._results.hold()
        self._thread = threading.Thread(target=self._deliver, name="co3d visits", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._takers)

    def open(
        self, take: Taker, rate_hz: float | None = None, snapshot: Snapshot | None = None
    ) -> Visit:
        """Give a visitor a place.

        Args:
            take: called with what comes of the visitor's pictures, in a thread of its own.
            rate_hz, snapshot: as for `Engine.join`.

        Raises:
            EngineFullError: there is no room.
            OptionError, StreamError: as for `Engine.join`.
        """
        with self._lock:
            name = f"visitor {next(self._numbers)}"
            if len(self._takers) >= self._most:
                self.refused += 1
                raise EngineFullError(
                    f"cannot label another visitor: {self._most} are there; try again later"
                )
            self._takers[name] = take
        try:
            track = self._engine.join(
                name,
                rate_hz=rate_hz,
                snapshot=snapshot,
                keeps_pictures=False,
                results=self._results,
                extra_cost_ms=DECODING_MS,
            )
        except BaseException as error:
            self.refused += isinstance(error, EngineFullError)
            self._leave(name)
            raise
        self.opened += 1
        return Visit(track, self._leave)

    def close(self) -> None:
        """Let the thread end once all visits have."""
        self._results.release()

    def _leave(self, name: str) -> None:
        with self._lock:
            self._takers.pop(name, None)

    def _deliver(self) -> None:
        for item in self._results:
            take = self._takers.get(item.track)
            if take is not None:
                take(item)
