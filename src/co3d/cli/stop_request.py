"""Ctrl-C and SIGTERM as a request to stop after the present frame."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from co3d.video import VideoReader


class StopRequest:
    """While its `with` block runs, SIGINT and SIGTERM end the video instead of the program.

    The frames end early, as if the video were over, so that everything after them is finished in
    its usual order. A second signal breaks in wherever the program is.
    """

    def __init__(self, reader: VideoReader) -> None:
        self.requested = False
        self._reader = reader

    def request(self) -> None:
        """End the video."""
        self.requested = True
        self._reader.close()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.request()

    def __enter__(self) -> "StopRequest":
        numbers = (signal.SIGINT, signal.SIGTERM)
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


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Let SIGTERM stop what runs as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
