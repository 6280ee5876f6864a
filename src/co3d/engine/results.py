"""Where tracks put their predictions, and consumers take them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from co3d.engine.prediction import Prediction
from co3d.video import SourceState
from co3d.video.frame_queue import WAKE_SECONDS

CAPACITY = 64


@dataclass(frozen=True)
class TrackEnded:
    """A track gives nothing more.

    Attributes:
        track: its name.
        error: why; None where its video is over, or somebody closed it.
    """

    track: str
    error: Exception | None = None


@dataclass(frozen=True)
class SourceChanged:
    """The source of a track does something else from now on.

    Attributes:
        track: its name. state: what its source does.
    """

    track: str
    state: SourceState


ResultItem = Prediction | SourceChanged | TrackEnded


class Results:
    """A bounded queue of predictions, of one track or of several that share it.

    Iterating gives what was made, each track's in order, until all tracks that joined have ended
    and nobody holds the queue open; of each track its `TrackEnded` comes last.

    Args:
        capacity: predictions that wait at most. A live track that finds the queue full throws the
            oldest one away; any other waits, and so does whoever pushes its frames.
        listener: called with each item in the thread that adds it, so that it misses none; it must
            not wait, nor raise.

    Attributes:
        lost: predictions that were thrown away because nobody took them in time.
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
    def is_full(self) -> bool:
        """Whether as many predictions wait as may."""
        return self._predictions >= self._capacity

    def join(self, on_room: Callable[[], None]) -> None:
        """Another track puts its predictions here, and is told whenever a full queue has room."""
        with self._changed:
            self._holders += 1
            self._on_room.append(on_room)

    def hold(self) -> None:
        """Keep the queue open for tracks that will join, until `release`."""
        with self._changed:
            self._holders += 1

    def release(self) -> None:
        """End what one call of `hold` began."""
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()

    def tell(self, item: SourceChanged | TrackEnded) -> None:
        """Add news of a source, or of a track that could not join."""
        self._listen(item)
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def put(self, prediction: Prediction, *, drops_oldest: bool) -> None:
        """Add a prediction, whether or not there is room: who must not, asks `is_full` first."""
        self._listen(prediction)
        with self._changed:
            if drops_oldest and self.is_full:
                self._drop_oldest()
            self._items.append(prediction)
            self._predictions += 1
            self._changed.notify_all()

    def end(self, ended: TrackEnded, on_room: Callable[[], None]) -> None:
        """A track that joined gives nothing more."""
        self._listen(ended)
        with self._changed:
            self._items.append(ended)
            self._holders -= 1
            self._on_room.remove(on_room)
            self._changed.notify_all()

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
            if self.is_full:
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
