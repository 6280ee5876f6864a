"""Ctrl-C, SIGTERM and SIGHUP as a request to stop after the current frame."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType

from co3d.cli.interrupts import interrupt

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none


def silence(descriptor: int) -> None:
    """Discard everything written to a file descriptor from now on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


class StopRequest:
    """While its `with` block runs, SIGINT, SIGTERM and SIGHUP end the video, not the program.

    The frames end early, as if the video were over, so that everything after them finishes in its
    usual order. A second signal interrupts at once. SIGHUP means that the terminal is gone, so
    printing to it is discarded from then on; where SIGHUP is ignored (`nohup`), it stays ignored.

    Args:
        end: ends the video; may be called at any point of the program.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.requested = False
        self._end = end
        self._terminals = [
            stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()
        ]

    def request(self) -> None:
        """End the video."""
        self.requested = True
        self._end()

    def discard_terminal_output(self) -> None:
        """Discard what is printed to the terminal, because writing to a closed one fails."""
        for terminal in self._terminals:
            silence(terminal)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == HANGUP:
            self.discard_terminal_output()
        if self.requested:
            interrupt(number, frame)
        self.request()

    def __enter__(self) -> "StopRequest":
        numbers = [signal.SIGINT, signal.SIGTERM]
        if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
            numbers.append(HANGUP)
        self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
