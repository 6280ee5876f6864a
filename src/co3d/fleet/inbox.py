"""Results that an engine holds for a front of a fleet until the front takes them."""

import threading
import time
from collections import deque

from co3d.engine.results import ResultItem

WAITING_ITEMS = 4096
SILENT_SECONDS = 5.0
"""A front that has taken nothing for this long is gone."""


class Inbox:
    """A bounded queue of results for one front. Thread-safe.

    Attributes:
        all_cameras: whether the front also wants the results of cameras.
    """

    def __init__(self) -> None:
        self.all_cameras = False
        self._items: deque[ResultItem] = deque(maxlen=WAITING_ITEMS)
        self._changed = threading.Condition()
        self._taken_seconds = time.monotonic()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: ResultItem) -> None:
        """Add an item; drops the oldest when the queue is full."""
        with self._changed:
            self._items.append(item)
            self._changed.notify()

    def take(self, wait_seconds: float) -> list[ResultItem]:
        """All queued items, once there are some or the time is over."""
        with self._changed:
            if not self._items:
                self._changed.wait(wait_seconds)
            items = list(self._items)
            self._items.clear()
            self._taken_seconds = time.monotonic()
            return items

    def is_silent(self) -> bool:
        """Whether the front has taken nothing for too long."""
        return time.monotonic() - self._taken_seconds > SILENT_SECONDS
