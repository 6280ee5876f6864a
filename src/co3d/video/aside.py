"""Waiting that can be interrupted, for what itself cannot: opening a source, silence."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from co3d.video.frame_queue import WAKE_SECONDS

T = TypeVar("T")


def run_aside(
    work: Callable[[], T], name: str, tell: Callable[[], None], discard: Callable[[T], None]
) -> T:
    """What a function returns, or raises, that runs in a thread of its own.

    Args:
        work: may take long. name: of its thread.
        tell: called before, and every 0.2 s meanwhile. What it raises is raised here, and the
            thread is left behind.
        discard: called with what comes when nobody waits for it any more.
    """
    made: list[T] = []
    failures: list[BaseException] = []
    handing_over, is_left = threading.Lock(), False

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (the waiting thread raises it)
            failures.append(error)
            return
        with handing_over:
            made.append(result)
            is_late = is_left
        if is_late:
            discard(result)

    tell()
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(WAKE_SECONDS)
            tell()
    except BaseException:
        with handing_over:
            is_left = True
            late = list(made)
        for result in late:
            discard(result)
        raise
    if failures:
        raise failures.pop()
    return made.pop()


class AttentiveEvent(threading.Event):
    """An event for which nobody waits in silence.

    Args:
        tell: called every 0.2 s by whoever waits; what it raises ends the wait.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, or for so many seconds; whether it is set."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAKE_SECONDS if end is None else end - time.monotonic()
            if super().wait(max(0.0, min(left, WAKE_SECONDS))):
                return True
            if end is not None and time.monotonic() >= end:
                return False
            self._tell()
