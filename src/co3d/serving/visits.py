"""Visitors: clients who send their own video, each labelled in a track of the engine."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from co3d.engine import Engine, Results
from co3d.engine.admission import SourceCost
from co3d.engine.describer import MS_PER_SECOND
from co3d.engine.results import ResultItem
from co3d.errors import EngineFullError
from co3d.free_memory import give_memory_back
from co3d.runtime import Snapshot

CAPACITY = 4096
DECODING_MS = 3.0
"""CPU time expected for decoding per step, until some has been measured."""

MOST_PICTURES_PER_STEP = 2.5
LONGEST_SECONDS = 1.0
"""The longest interval between two pictures over which cost is averaged; longer ones are gaps."""

TRIM_SECONDS = 1.0
"""Delay from a visitor's end until freed memory is returned, so that several visitors share it."""

Taker = Callable[[ResultItem], None]


class PushedTrack(Protocol):
    """A track, local or on a fleet's engine; see `Track`."""

    name: str
    rate_hz: float
    source_cost: SourceCost

    def push(self, picture: Any, pts_seconds: float) -> None:
        """See `Track.push`."""
        ...

    def reset(self) -> None:
        """See `Track.reset`."""
        ...

    def close(self) -> None:
        """See `Track.close`."""
        ...


class Visit:
    """One visitor's stream, made by `Visits.open`. Thread-safe, but only one thread may push.

    Attributes:
        name: of its track. rate_hz: frames per second that the network sees.
        skipped_pictures: pictures that came more often than the network needs them.
    """

    def __init__(
        self, track: PushedTrack, usual_cost: SourceCost, on_close: Callable[[str], None]
    ) -> None:
        self.name, self.rate_hz = track.name, track.rate_hz
        self.skipped_pictures = 0
        self._track, self._on_close = track, on_close
        self._last_seconds = float("-inf")
        self._costs = (track.source_cost, usual_cost)
        self._decoding_seconds, self._counted_seconds = 0.0, float("inf")

    def wants(self, pts_seconds: float) -> bool:
        """Whether a picture at this time is needed; others need not be decoded."""
        ahead_seconds = pts_seconds - self._last_seconds
        is_wanted = ahead_seconds * self.rate_hz * MOST_PICTURES_PER_STEP >= 1
        self.skipped_pictures += not is_wanted
        return is_wanted

    def push(
        self, pts_seconds: float, picture: np.ndarray | bytes, decoding_seconds: float | None = None
    ) -> None:
        """Push the next picture; see `Track.push` for errors.

        Args:
            pts_seconds: its time.
            picture: (H, W, 3) uint8, RGB; or a JPEG where the engine decodes it.
            decoding_seconds: CPU time that decoding took, which counts in admission; None if it is
                not known.
        """
        self._last_seconds = pts_seconds
        self._track.push(picture, pts_seconds)
        if decoding_seconds is not None:
            self._count(pts_seconds, decoding_seconds)

    def _count(self, pts_seconds: float, decoding_seconds: float) -> None:
        """Average the decoding time over the steps that the pictures make."""
        self._counted_seconds = min(self._counted_seconds, pts_seconds)
        self._decoding_seconds += decoding_seconds
        steps = min(pts_seconds - self._counted_seconds, LONGEST_SECONDS) * self.rate_hz
        if steps < 1:
            return
        for cost in self._costs:
            cost.add(self._decoding_seconds / steps)
        self._decoding_seconds, self._counted_seconds = 0.0, pts_seconds

    def reset(self) -> None:
        """Prepare for another video, which begins with the next picture."""
        self._last_seconds = float("-inf")
        self._decoding_seconds, self._counted_seconds = 0.0, float("inf")
        self._track.reset()

    def close(self) -> None:
        """Free the visitor's place; may be called twice."""
        self._track.close()
        self._on_close(self.name)


class Visits:
    """All visitors' streams.

    Args:
        engine: the one that labels. most: the most visitors at a time.

    Attributes:
        opened: visitors so far. refused: visitors for whom there was no room.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self.opened = self.refused = 0
        self._engine, self._most = engine, most
        self._numbers = itertools.count(1)
        self._usual_cost = SourceCost(DECODING_MS / MS_PER_SECOND)
        self._trimming: threading.Timer | None = None
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
        """Open a visitor's stream.

        Args:
            take: called with the visitor's results, in a separate thread.
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
                    f"cannot label another visitor: {self._most} are connected; try again later"
                )
            self._takers[name] = take
        try:
            track = self._engine.join(
                name,
                rate_hz=rate_hz,
                snapshot=snapshot,
                keeps_pictures=False,
                results=self._results,
                extra_cost_ms=self._usual_cost.seconds * MS_PER_SECOND,
            )
        except BaseException as error:
            self.refused += isinstance(error, EngineFullError)
            self._leave(name)
            raise
        self.opened += 1
        return Visit(track, self._usual_cost, self._leave)

    def close(self) -> None:
        """Let the delivering thread end once all visits have."""
        self._results.release()
        trimming = self._trimming
        if trimming is not None:
            trimming.cancel()

    def _leave(self, name: str) -> None:
        with self._lock:
            if self._takers.pop(name, None) is None:
                return
            if self._trimming is None:
                self._trimming = threading.Timer(TRIM_SECONDS, self._trim)
                self._trimming.daemon = True
                self._trimming.start()

    def _trim(self) -> None:
        self._trimming = None
        give_memory_back()

    def _deliver(self) -> None:
        for item in self._results:
            take = self._takers.get(item.track)
            if take is not None:
                take(item)


async def open_visit(visits: Visits, take: Taker, rate_hz: float | None = None) -> Visit:
    """Call `Visits.open` in another thread; if the caller is cancelled, the place is freed.

    Raises:
        EngineFullError, OptionError: as `Visits.open`.
    """
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, visits.open, take, rate_hz)

    def give_back(opened: "asyncio.Future[Visit]") -> None:
        if not opened.cancelled() and opened.exception() is None:
            loop.run_in_executor(None, opened.result().close)

    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(give_back)
        raise


async def run_uncancelled(close: Callable[[], None]) -> None:
    """Call a function in another thread, even if this task is cancelled or the loop ends."""
    # The function is submitted before anything is awaited.
    await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, close))
