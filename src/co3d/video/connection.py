"""A network stream or camera that is opened again when it breaks."""

import threading
import time
from collections.abc import Callable, Iterator

from av.container import InputContainer

from co3d.errors import (
    CameraError,
    EmptyVideoError,
    NotAVideoError,
    NoVideoStreamError,
    SourceUnreachableError,
)
from co3d.video.decoder import Resumption, VideoDecoder
from co3d.video.picture import DecodedFrame

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 8.0
REFUSALS = (SourceUnreachableError, NotAVideoError, NoVideoStreamError, EmptyVideoError)


class Connection:
    """Frames of a source that may break off and come back.

    A source that states a duration is a file far away, not live: it ends at its end, and after a
    break it is read again from the start up to where it broke. A live source goes on with whatever
    it sends next, on a clock that never falls. Only after a break can be seen that a server which
    states no length sends a recording: it begins with the same packet again, and is a file from
    then on.

    Args:
        open_container: connects.
        name: of the source, for messages.
        reconnect_seconds: how long to try without a new frame; None, for cameras, never tries.
        may_be_recording: a source that states no duration may be a recording nevertheless.
        stopping: ends the frames and the waiting between two attempts.

    Raises:
        What `open_container` and `VideoDecoder` raise.
    """

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        name: str,
        reconnect_seconds: float | None,
        may_be_recording: bool,
        stopping: threading.Event,
    ) -> None:
        self._open_container = open_container
        self._name = name
        self._reconnect_seconds = reconnect_seconds
        self._may_be_recording = may_be_recording
        self._stopping = stopping
        self._next_index = 0
        self._last_frame_at = time.monotonic()
        self.decoder = self._open()
        self.is_live = self.decoder.is_live

    def frames(self) -> Iterator[DecodedFrame]:
        """Frames until the end, `stopping`, or nobody has answered for too long.

        Raises:
            SourceUnreachableError, CameraError: the source is gone for good.
        """
        while True:
            resumed_at, seen = self._next_index, 0
            for frame in self.decoder.frames():
                if self._stopping.is_set():
                    return
                seen = frame.index + 1
                if seen > self._next_index:
                    self._next_index = seen
                    yield frame
                    self._last_frame_at = time.monotonic()
            if not self.is_live and not self.decoder.is_cut_short:
                return
            if not self.is_live and seen == resumed_at:  # it broke here before
                yield from self.decoder.tail()
                return
            if not self._reconnect():
                return

    def close(self) -> None:
        """Close the connection; not while another thread reads."""
        self.decoder.close()

    def _reconnect(self) -> bool:
        """Open the source again; False when told to stop."""
        if self._reconnect_seconds is None:
            raise CameraError(f"{self._name} stopped sending; plug it in and start again")
        self.decoder.close()
        interruption = self.decoder.interruption  # whose text names the address, password and all
        cause = interruption.strerror if interruption else "the connection ended"
        delay_seconds = FIRST_RETRY_SECONDS
        while True:
            left_seconds = self._last_frame_at + self._reconnect_seconds - time.monotonic()
            if left_seconds <= 0:
                raise SourceUnreachableError(
                    f"lost {self._name}: no frame for {self._reconnect_seconds:g} s "
                    f"({cause}); check that the server runs"
                )
            if self._stopping.wait(min(delay_seconds, left_seconds)):
                return False
            delay_seconds = min(2 * delay_seconds, LAST_RETRY_SECONDS)
            try:
                self.decoder = self._open_again()
            except REFUSALS as error:
                cause = str(error)
            else:
                return True

    def _open(self, resumes: Resumption | None = None) -> VideoDecoder:
        return VideoDecoder(
            self._open_container(),
            self._name,
            thread_type="SLICE",  # threads over frames would hold frames back
            resumes=resumes,
            resumable=True,
        )

    def _open_again(self) -> VideoDecoder:
        if not self.is_live:
            return self._open()
        opening = self.decoder.opening if self._may_be_recording else None
        decoder = self._open(Resumption(self.decoder.clock, self._next_index, opening))
        self.is_live = not decoder.starts_over
        return decoder
