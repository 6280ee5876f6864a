"""Message queues for slow clients: the oldest messages are dropped, and stuck clients are cut."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from anyio import fail_after

M = TypeVar("M")


class StuckClientError(Exception):
    """A client reads nothing any more."""


class Outgoing(Generic[M]):
    """A bounded queue of messages for one client. Use it only in the event loop's thread.

    Args:
        capacity: the most queued messages.
        stuck_seconds: how long a client may take for one message before it is given up.

    Attributes:
        lost: number of messages dropped because the client was slow.
    """

    def __init__(self, capacity: int, stuck_seconds: float) -> None:
        self.lost = 0
        self._capacity, self._stuck_seconds = capacity, stuck_seconds
        self._messages: deque[M] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    def put(self, message: M) -> None:
        """Add a message; drops the oldest when the queue is full."""
        if len(self._messages) >= self._capacity:
            self._messages.popleft()
            self.lost += 1
        self._messages.append(message)
        self._changed.set()

    def close(self) -> None:
        """Accept no more messages; those queued are still sent."""
        self._is_closed = True
        self._changed.set()

    async def take(self, timeout_seconds: float | None = None) -> M | None:
        """The oldest message; None at the end, or if none comes in time."""
        while not self._messages:
            if self._is_closed:
                return None
            self._changed.clear()
            try:
                with fail_after(timeout_seconds):
                    await self._changed.wait()
            except TimeoutError:
                return None
        return self._messages.popleft()

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        return self._is_closed and not self._messages

    async def send_all(self, send: Callable[[M], Awaitable[None]]) -> None:
        """Send messages as they arrive, until the end.

        Raises:
            StuckClientError: a message was not taken within `stuck_seconds`.
        """
        while (message := await self.take()) is not None:
            try:
                with fail_after(self._stuck_seconds):
                    await send(message)
            except TimeoutError as error:
                raise StuckClientError from error


async def wait_for_first(
    tasks: "set[asyncio.Task[None]]", timeout_seconds: float | None = None
) -> BaseException | None:
    """Wait until the first of several tasks ends, and cancel the others; returns its exception."""
    try:
        done, _ = await asyncio.wait(
            tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        return next((task.exception() for task in done if task.exception()), None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
