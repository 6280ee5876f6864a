"""Decode no more pictures at once than there are cores."""

import os
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """Lets so many threads work at a time; others wait until it is their turn.

    A decoder releases Python's lock and takes it back several times for a picture. With 56 threads
    on two cores that did so together, each of these waits, and each of the engine's steps, took
    6 ms instead of 0.1. Threads that wait here do not compete for that lock.

    Args:
        count: how many threads.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._fill()
        if hasattr(os, "register_at_fork"):  # threads with a turn do not exist in the child
            os.register_at_fork(after_in_child=self._fill)

    def take(self, work: Callable[[], T]) -> T:
        """Wait for a turn, and return what `work` returns; it must not wait for other threads.

        Ctrl-C before a turn is taken cannot be told from Ctrl-C just after. So a turn is given back
        in both cases: one too many does no harm, without one that is missing nothing may decode.
        """
        try:
            self._free.get()
            return work()
        finally:
            self._free.put(None)

    def _fill(self) -> None:
        self._free = SimpleQueue[None]()
        for _ in range(self._count):
            self._free.put(None)


def _count_cores() -> int:
    """Of the cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


decoding_turns = Turns(_count_cores())
"""Of all threads of the process that decode pictures or convert them to RGB."""
