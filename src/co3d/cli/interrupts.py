"""Ctrl-C and SIGTERM as KeyboardInterrupt, wherever the program is."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from co3d.cli.exit_codes import STOPPED

_IMPORT = "<frozen importlib._bootstrap>"


def interrupt(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but end the process where that would break off an import.

    Libraries in C++ that are half imported abort, or make other errors of it.
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            os._exit(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt in the block; what ignores them stays so."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is KeyboardInterrupt, or what some library has made of one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
