"""A bounded queue between a thread that reads frames and their consumer."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
WAKE_SECONDS = 0.2
"""A waiting consumer checks for Ctrl-C this often, because on some systems it does not end a
wait."""


class FrameQueue(Generic[T]):
    """Hand frames from one thread to another.

    Args:
        capacity: the most frames in the queue, or the most of what `size_of` measures.
        drop_oldest: when full, throw the oldest frame away (and count it); else wait for room.
        size_of: what a frame counts towards the capacity.
        discard: called by the consumer with the queued frames, oldest first; returns how many of
            them to drop (and count) before the next one is taken.
    """

    def __init__(
        self,
        capacity: int,
        *,
        drop_oldest: bool = False,
        size_of: Callable[[T], int] = lambda _: 1,
        discard: Callable[[deque[T]], int] = lambda _: 0,
    ) -> None:
        self.dropped_frames = 0
        self._size_of = size_of
        self._discard = discard
        self._size = 0
        self._frames: deque[T] = deque()
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._changed = threading.Condition()
        self._finished = False
        self._closed = False
        self._error: Exception | None = None

    def put(self, frame: T) -> bool:
        """Add a frame; False if the queue is closed."""
        with self._changed:
            while self._drop_oldest and self._frames and self._size >= self._capacity:
                self._drop(1)
            while self._size >= self._capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._frames.append(frame)
            self._size += self._size_of(frame)
            self._changed.notify_all()
            return True

    def finish(self, error: Exception | None) -> None:
        """No more frames come; `error` is raised once the queued frames are taken."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Drop all frames and wake both sides."""
        with self._changed:
            self._closed = True
            self._frames.clear()
            self._size = 0
            self._changed.notify_all()

    def take_all(self, on_wait: Callable[[float], None] = lambda _: None) -> Iterator[T]:
        """Frames as they arrive, until `finish` or `close`; raises the error given to `finish`.

        Args:
            on_wait: called every 0.2 s while no frame arrives, and at the end, with the seconds
                since the wait began; called with 0 before each frame.
        """
        while (frame := self._take(on_wait)) is not None:
            yield frame
        if self._error is not None and not self._closed:
            raise self._error

    def _take(self, on_wait: Callable[[float], None]) -> T | None:
        began = time.monotonic()
        while not self._wait():
            on_wait(time.monotonic() - began)
        with self._changed:
            frame = self._pop() if self._frames else None
            self._changed.notify_all()
        on_wait(time.monotonic() - began if frame is None else 0.0)
        return frame

    def _wait(self) -> bool:
        """Wait briefly; whether a frame or the end has come."""
        with self._changed:
            if not self._has_come():
                self._changed.wait(WAKE_SECONDS)
            return self._has_come()

    def _has_come(self) -> bool:
        """Whether there is a frame to take, or no more come."""
        if dropped := self._discard(self._frames):
            self._drop(dropped)
            self._changed.notify_all()
        return bool(self._frames or self._finished or self._closed)

    def _drop(self, frames: int) -> None:
        for _ in range(frames):
            self._pop()
        self.dropped_frames += frames

    def _pop(self) -> T:
        frame = self._frames.popleft()
        self._size -= self._size_of(frame)
        return frame
