"""Messages for one client that may be slow: the oldest are lost, and who takes none is cut."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

M = TypeVar("M")


class StuckClientError(Exception):
    """A client takes nothing any more."""


class Outgoing(Generic[M]):
    """A bounded queue of messages. Only for the event loop's thread.

    Args:
        capacity: messages that wait at most.
        stuck_seconds: after which a client that has not taken a message is given up.

    Attributes:
        lost: messages that were thrown away because the client was slow.
    """

    def __init__(self, capacity: int, stuck_seconds: float) -> None:
        self.lost = 0
        self._capacity, self._stuck_seconds = capacity, stuck_seconds
        self._messages: deque[M] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    def put(self, message: M) -> None:
        """Add a message; of too many the oldest goes."""
        if len(self._messages) >= self._capacity:
            self._messages.popleft()
            self.lost += 1
        self._messages.append(message)
        self._changed.set()

    def close(self) -> None:
        """Nothing more comes; what waits is still handed out."""
        self._is_closed = True
        self._changed.set()

    async def take(self, timeout_seconds: float | None = None) -> M | None:
        """The oldest message; None at the end, or where none comes in time."""
        while not self._messages:
            if self._is_closed:
                return None
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), timeout_seconds)
            except TimeoutError:
                return None
            except asyncio.TimeoutError:  # another class in Python 3.10
                return None
        return self._messages.popleft()

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        return self._is_closed and not self._messages

    async def send_all(self, send: Callable[[M], Awaitable[None]]) -> None:
        """Send messages as they come, until the end.

        Raises:
            StuckClientError: one was not taken in `stuck_seconds`.
        """
        while (message := await self.take()) is not None:
            try:
                await asyncio.wait_for(send(message), self._stuck_seconds)
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise StuckClientError from error


async def wait_for_first(
    tasks: "set[asyncio.Task[None]]", timeout_seconds: float | None = None
) -> BaseException | None:
    """Wait until one of some tasks is over, and end the others; what it raised, if anything."""
    try:
        done, _ = await asyncio.wait(
            tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        return next((task.exception() for task in done if task.exception()), None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
