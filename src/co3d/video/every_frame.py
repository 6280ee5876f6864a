"""All frames of a source, decoded once, for a consumer that lags behind the source's reader."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from co3d.errors import DamagedVideoError
from co3d.video.frame import VideoFrame
from co3d.video.picture import DecodedFrame

HELD_BYTES = 512 * 2**20
"""Two seconds of 4K at 20 frames a second, and eight of 1080p."""


class FrameReader(Protocol):
    """A reader of all frames of a source."""

    def __next__(self) -> VideoFrame: ...

    def close(self) -> None:
        """End the iteration, from any thread."""
        ...


class EveryFrame:
    """Frames that a reader has decoded, including those between its samples, held until taken.

    Frames are held as the decoder gives them, which is 1.5 bytes a pixel for most videos, and are
    converted to pictures when taken. Once they need more than `HELD_BYTES`, none are held any more,
    and the source is decoded a second time from its start.

    One thread may hold frames while another takes them.

    Args:
        convert: a decoded frame -> the frame as readers give it.
        open_again: opens a second reader of the source.
        decodes_twice: hold no frames, because the source does not show them.

    Attributes:
        exceeded_limit: whether the source is decoded twice because of `HELD_BYTES`.
    """

    def __init__(
        self,
        convert: Callable[[DecodedFrame], VideoFrame],
        open_again: Callable[[], FrameReader],
        *,
        decodes_twice: bool,
    ) -> None:
        self._convert, self._open_again = convert, open_again
        self._held: deque[tuple[DecodedFrame, int]] = deque()
        self._held_bytes, self._next_index = 0, 0
        self._decodes_twice, self._is_closed = decodes_twice, False
        self._reader: FrameReader | None = None
        self._lock = threading.Lock()
        self.exceeded_limit = False

    def hold(self, frame: DecodedFrame) -> None:
        """Keep the next frame of the source until it is taken."""
        size = sum(plane.buffer_size for plane in frame.frame.planes)
        with self._lock:
            if self._decodes_twice or self._is_closed:
                return
            self._held.append((frame, size))
            self._held_bytes += size
            if self._held_bytes > HELD_BYTES:
                self._decodes_twice = self.exceeded_limit = True
                self._held.clear()

    def take(self) -> VideoFrame | None:
        """The next frame; None if the source has ended or the reader has not decoded further yet.

        Raises:
            What reading raises, except for damage, which the reader reports.
        """
        with self._lock:
            if self._is_closed:
                return None
            held = self._held.popleft() if self._held else None
            if held is not None:
                self._held_bytes -= held[1]
                self._next_index = held[0].index + 1
            elif not self._decodes_twice:
                return None
        return self._read_again() if held is None else self._convert(held[0])

    def close(self) -> None:
        """Free all frames; a concurrent `take` returns None soon."""
        with self._lock:
            self._is_closed = True
            self._held.clear()
            reader = self._reader
        if reader is not None:
            reader.close()

    def _read_again(self) -> VideoFrame | None:
        if self._reader is None:
            reader = self._open_again()
            with self._lock:
                self._reader = reader
            if self._is_closed:  # meanwhile
                reader.close()
        with suppress(DamagedVideoError):
            while (frame := next(self._reader, None)) is not None:
                if frame.index >= self._next_index:
                    return frame
        return None
