"""Ctrl-C and SIGTERM as KeyboardInterrupt, wherever the program is."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from co3d.cli.exit_codes import STOPPED

_IMPORT = "<frozen importlib._bootstrap>"
PATIENCE_SECONDS = 2.0
"""How long a process that is done waits for its daemon threads."""


def interrupt(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but during an import end the process instead.

    A half-imported C++ library aborts, or turns the exception into another error.
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            os._exit(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _install_handler(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Handle SIGINT and SIGTERM unless they are ignored; returns the earlier handlers."""
    both = (signal.SIGINT, signal.SIGTERM)
    numbers = [number for number in both if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in numbers}


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt in the block, unless they are ignored."""
    previous = _install_handler(interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class CleanEnd:
    """Ensures that a process whose work is done ends with its exit code; until then, interrupts it.

    A daemon thread that frees a tensor while Python shuts down aborts the process in C++ (Python
    before 3.14). So at exit such threads are waited for; if one keeps running, the process ends
    without Python's own shutdown. Create it before anything else registers an exit handler.

    Attributes:
        code: the exit code.
    """

    def __init__(self) -> None:
        self.code = 1
        atexit.register(self._wait_for_threads)  # the handler registered first runs last
        _install_handler(interrupt)

    def finish(self, code: int) -> None:
        """Set the exit code: the work is done, and from now on a signal ends the process."""
        self.code = code
        _install_handler(self._leave)

    def _wait_for_threads(self) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        threads = [thread for thread in threading.enumerate() if thread.daemon]
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))
        if any(thread.is_alive() for thread in threads):
            self._leave()

    def _leave(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError, RuntimeError):
                stream.flush()
        os._exit(self.code)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is KeyboardInterrupt, or was raised by a library because of one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
