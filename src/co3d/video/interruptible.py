"""Run blocking work and waits so that Ctrl-C interrupts them."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from co3d.video.frame_queue import WAKE_SECONDS

T = TypeVar("T")


def run_interruptibly(
    work: Callable[[], T], name: str, tell: Callable[[], None], discard: Callable[[T], None]
) -> T:
    """Run a function in a thread of its own; return what it returns, raise what it raises.

    Args:
        work: may take long. name: of its thread.
        tell: called before, and every 0.2 s meanwhile. What it raises is raised here, and the
            thread is left behind.
        discard: called with the result if the thread was left behind.
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


class InterruptibleEvent(threading.Event):
    """An event that calls a function while somebody waits for it.

    Args:
        tell: called every 0.2 s by the waiting thread; what it raises ends the wait.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set or `timeout` seconds have passed; whether it is set."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAKE_SECONDS if end is None else end - time.monotonic()
            if super().wait(max(0.0, min(left, WAKE_SECONDS))):
                return True
            if end is not None and time.monotonic() >= end:
                return False
            self._tell()
