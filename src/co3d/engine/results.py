"""The queue between tracks, which make predictions, and their consumers."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from co3d.engine.intake import Intake
from co3d.engine.prediction import Prediction
from co3d.engine.step import StepListener
from co3d.runtime import Snapshot
from co3d.video import SourceState
from co3d.video.frame_queue import WAKE_SECONDS

CAPACITY = 64


@dataclass(frozen=True)
class TrackState:
    """The state of a live track that has ended, from which another track can continue.

    Attributes:
        snapshot: the network's state after the track's last step.
        received_seconds: when its last frame arrived, Unix time.
        longest_seconds: the longest time between two of its frames that does not count as a gap.
        intake, listener: its sampler and describer, with which a new track continues exactly; None
            for a state from a file.
    """

    snapshot: Snapshot
    received_seconds: float
    longest_seconds: float
    intake: Intake | None = None
    listener: StepListener | None = None


@dataclass(frozen=True)
class TrackEnded:
    """A track has ended.

    Attributes:
        track: its name.
        error: why; None if its video is over, or it was closed.
        state: its state, if it was asked for (`Track.leave_state`).
    """

    track: str
    error: Exception | None = None
    state: TrackState | None = None


@dataclass(frozen=True)
class SourceChanged:
    """The state of a track's source has changed.

    Attributes:
        track: its name. state: the source's new state.
    """

    track: str
    state: SourceState


ResultItem = Prediction | SourceChanged | TrackEnded


class Results:
    """A bounded queue of predictions, of one track or of several that share it.

    Iterating yields the items of each track in order, its `TrackEnded` last, until all tracks have
    ended and no `hold` is active.

    Args:
        capacity: the most predictions that wait. When the queue is full, a live track drops the
            oldest prediction; other tracks wait, and so do their producers.
        listener: called with each item in the thread that adds it, so that it misses none. It must
            neither wait nor raise.

    Attributes:
        lost: predictions that were dropped because the consumer was too slow.
    """

    def __init__(
        self, capacity: int = CAPACITY, listener: Callable[["ResultItem"], None] | None = None
    ) -> None:
        self.lost = 0
        self._listener = listener
        self._capacity = capacity
        self._items: deque[ResultItem] = deque()
        self._predictions = 0
        self._holders = 0
        self._changed = threading.Condition()
        self._on_room: list[Callable[[], None]] = []

    @property
    def room(self) -> int:
        """How many more predictions fit; 0 or less if the queue is full."""
        return self._capacity - self._predictions

    def join(self, on_room: Callable[[], None]) -> None:
        """Add a track as a producer; `on_room` is called when a full queue has room again."""
        with self._changed:
            self._holders += 1
            self._on_room.append(on_room)

    def hold(self) -> None:
        """Keep the iteration open for tracks that will join, until `release`."""
        with self._changed:
            self._holders += 1

    def release(self) -> None:
        """Undo one call of `hold`."""
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()

    def put_news(self, item: SourceChanged | TrackEnded) -> None:
        """Add a change of a source, or the end of a track that could not join."""
        self._listen(item)
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def put(self, predictions: Sequence[Prediction], *, drops_oldest: bool) -> None:
        """Add predictions; it does not wait, so that offline tracks check `room` before."""
        for prediction in predictions:
            self._listen(prediction)
        with self._changed:
            for prediction in predictions:
                if drops_oldest and self.room <= 0:
                    self._drop_oldest()
                self._items.append(prediction)
                self._predictions += 1
            self._changed.notify_all()

    def end(self, ended: TrackEnded, on_room: Callable[[], None]) -> None:
        """Add the end of a track, and remove it as a producer."""
        self._listen(ended)
        with self._changed:
            self._items.append(ended)
            self._holders -= 1
            self._on_room.remove(on_room)
            self._changed.notify_all()

    def take_waiting(self) -> Iterator[ResultItem]:
        """Yield the items that are in the queue, without waiting for more."""
        while self._items and (item := self._take()) is not None:
            yield item

    def _listen(self, item: ResultItem) -> None:
        if self._listener is not None:
            self._listener(item)

    def __iter__(self) -> Iterator[ResultItem]:
        while (item := self._take()) is not None:
            yield item

    def _take(self) -> ResultItem | None:
        listeners: list[Callable[[], None]] = []
        with self._changed:
            while not self._items:
                if not self._holders:
                    return None
                self._changed.wait(WAKE_SECONDS)
            if self.room <= 0:
                listeners = list(self._on_room)
            item = self._items.popleft()
            self._predictions -= isinstance(item, Prediction)
        for listener in listeners:
            listener()
        return item

    def _drop_oldest(self) -> None:
        for place, item in enumerate(self._items):
            if isinstance(item, Prediction):
                del self._items[place]
                self._predictions -= 1
                self.lost += 1
                return
