"""A network stream or camera that is opened again when it breaks."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from av.container import InputContainer
from av.error import ExitError, FFmpegError, HTTPForbiddenError, HTTPUnauthorizedError

from co3d.errors import (
    CameraError,
    CertificateError,
    EmptyVideoError,
    NotAVideoError,
    NoVideoStreamError,
    SourceUnreachableError,
)
from co3d.video.back_off import retry_delays
from co3d.video.decoder import Resumption, VideoDecoder
from co3d.video.garbage import free_containers
from co3d.video.irregularities import Irregularities, IrregularityCounter
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.packet_tap import PacketTap
from co3d.video.packets import WaitListener
from co3d.video.picture import DecodedFrame
from co3d.video.source_state import SourceState

RECORDING_RECONNECT_SECONDS = 30.0
"""A remote recording is retried for this long by default. Live sources are retried for ever."""

POLL_HZ = 5.0

KEPT_CHANGES = 64
"""The most state changes kept for a busy consumer."""

PASSING_REFUSALS = (SourceUnreachableError, EmptyVideoError)
"""Refusals that may be temporary while a server or camera starts."""

REFUSALS = (*PASSING_REFUSALS, NotAVideoError, NoVideoStreamError)
"""A server that has sent video once may answer with anything while it restarts."""


class Connection:
    """Frames of a source that may not be there yet, may break off, and may come back.

    Call `connect` first. A source that states a duration is a remote file, not live: it ends at
    its end, and after a break it is read again from the start up to where it broke. A live source
    continues with whatever it sends next, on a clock that never decreases. A server that states no
    duration may still send a recording. Only after a break does that show: it begins with the same
    packet again, and is treated as a file from then on.

    Args:
        open_container: connects.
        name: of the source, for messages.
        reconnect_seconds: how long to try without a new frame. None retries live sources for ever,
            and remote recordings for 30 s.
        may_be_recording: a source that states no duration may be a recording nevertheless.
        stopping: when set, ends the frames and the waiting between two attempts.
        is_camera: a local camera, which is not retried.
        is_pipe: it ends when its writer stops, and is live only if `drops_late`.
        poll_hz: how often to request an address that answers with one picture.
        drops_late: see `VideoDecoder`.
        recorder: see `VideoDecoder`.
        limits: of pixels. decoder_threads: as for `read_video`.
        on_wait: see `VideoDecoder`.

    Attributes:
        state: what the source is doing.
        changes: the latest states that have not been taken yet, oldest first. Another thread may
            take them.
        decoder, is_live: set by `connect`.
    """

    decoder: VideoDecoder
    is_live: bool

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        name: str,
        reconnect_seconds: float | None,
        may_be_recording: bool,
        stopping: threading.Event,
        *,
        is_camera: bool = False,
        is_pipe: bool = False,
        poll_hz: float = POLL_HZ,
        drops_late: bool = False,
        recorder: PacketTap | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        decoder_threads: int | None = None,
        on_wait: WaitListener | None = None,
    ) -> None:
        self._open_container = open_container
        self._name = name
        self._reconnect_seconds = reconnect_seconds
        self._may_be_recording = may_be_recording
        self._stopping = stopping
        self._is_camera = is_camera
        self._is_pipe = is_pipe
        self._poll_seconds, self._asked_at = 1 / poll_hz, 0.0
        self._drops_late = drops_late
        self._dropped_before = 0
        self._recorder = recorder
        self._limits, self._decoder_threads = limits, decoder_threads
        self._on_wait = on_wait
        self._next_index = 0
        self._irregularities = IrregularityCounter()
        self._last_frame_at = time.monotonic()
        self.state = SourceState("connecting")
        self.changes = deque([self.state], maxlen=KEPT_CHANGES)

    def connect(self) -> None:
        """Open the source for the first time, retrying while it is not there.

        Raises:
            SourceUnreachableError, EmptyVideoError: no attempt succeeded in `reconnect_seconds`,
                the server refuses the user, or `stopping` was set.
            CertificateError: at once.
            CameraError, NotAVideoError, NoVideoStreamError: at once.
        """
        limit_seconds = math.inf if self._reconnect_seconds is None else self._reconnect_seconds
        started = time.monotonic()
        for delay_seconds in retry_delays():
            try:
                self.decoder = self._open()
                break
            except PASSING_REFUSALS as error:
                left_seconds = started + limit_seconds - time.monotonic()
                # Cameras lock an account after a few attempts with a wrong password.
                for_good = isinstance(error, CertificateError) or isinstance(
                    error.__cause__, HTTPUnauthorizedError | HTTPForbiddenError
                )
                if self._is_pipe:
                    advice = "an MP4 whose index stands last cannot be read from a pipe"
                    raise EmptyVideoError(f"{error}; {advice}") from error
                if left_seconds <= 0 or for_good:
                    raise
                self._change_state(SourceState("connecting", str(error)))
                if self._stopping.wait(min(delay_seconds, left_seconds)):
                    raise
        self.is_live = self.decoder.is_live
        self._last_frame_at = time.monotonic()
        self._change_state(SourceState("live"))

    def frames(self) -> Iterator[DecodedFrame]:
        """Frames until the end, until `stopping` is set, or until nobody has answered for too long.

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
                    change = self._irregularities.look_at(frame, self.decoder.clock)
                    if change is not None:
                        self._change_state(SourceState("live", change))
                    yield frame
                    self._last_frame_at = time.monotonic()
            if self._is_pipe or (not self.is_live and not self.decoder.is_cut_short):
                return
            if not self.is_live and seen == resumed_at:  # it breaks at this frame again
                yield from self.decoder.tail()
                return
            goes_on = self._poll() if self.decoder.is_snapshot else self._reconnect()
            if not goes_on:
                return

    @property
    def dropped_frames(self) -> int:
        """Frames dropped before they were decoded."""
        return self._dropped_before + self.decoder.dropped_frames

    @property
    def irregularities(self) -> Irregularities:
        """Jumps back in time and changes of picture size so far; thread-safe."""
        return self._irregularities.counts

    def close(self) -> None:
        """Close the connection; not while another thread reads."""
        self.decoder.close()

    def _poll(self) -> bool:
        """Request the next picture; an unchanged one is skipped. False when told to stop."""
        while True:
            wait_seconds = self._asked_at + self._poll_seconds - time.monotonic()
            if self._stopping.wait(max(0.0, wait_seconds)):
                return False
            try:
                decoder = self._open(Resumption(self.decoder.clock, self._next_index, None))
            except REFUSALS as error:
                return self._reconnect(str(error))
            is_new = decoder.opening != self.decoder.opening
            (self.decoder if is_new else decoder).close()
            if is_new:
                self.decoder = decoder
                return True

    def _reconnect(self, refusal: str | None = None) -> bool:
        """Open the source again; False when told to stop.

        Args:
            refusal: what the source answered to the latest attempt, if anything.
        """
        if self._is_camera:
            raise CameraError(f"{self._name} stopped sending; plug it in and start again")
        self.decoder.close()
        cause = refusal or _explain_break(self.decoder.interruption)
        limit_seconds = self._reconnect_seconds
        if limit_seconds is None:
            limit_seconds = math.inf if self.is_live else RECORDING_RECONNECT_SECONDS
        for delay_seconds in retry_delays():
            self._change_state(SourceState("reconnecting", cause))
            silent_seconds = time.monotonic() - self._last_frame_at
            left_seconds = limit_seconds - silent_seconds
            if left_seconds <= 0:
                raise SourceUnreachableError(
                    f"lost {self._name}: no frame for {silent_seconds:.1f} s ({cause}); "
                    "check that the server runs"
                )
            if self._stopping.wait(min(delay_seconds, left_seconds)):
                return False
            try:
                self.decoder = self._open_again()
                break
            except REFUSALS as error:
                cause = str(error)
        self._change_state(SourceState("live"))
        free_containers()  # else a decoder's threads live on for long
        return True

    def _change_state(self, state: SourceState) -> None:
        """Enter a state; the same state for the same cause keeps its start time."""
        if state != self.state:
            self.state = state
            self.changes.append(state)

    def _open(self, resumes: Resumption | None = None) -> VideoDecoder:
        self._asked_at = time.monotonic()
        return VideoDecoder(
            self._open_container(),
            self._name,
            thread_type="SLICE",  # frame threads would delay frames
            resumes=resumes,
            resumable=self._drops_late or not self._is_pipe,
            drops_late=self._drops_late,
            recorder=self._recorder,
            limits=self._limits,
            threads=self._decoder_threads,
            on_wait=self._on_wait,
        )

    def _open_again(self) -> VideoDecoder:
        if not self.is_live:
            return self._open()
        # A restarted camera may well begin with the same picture, for instance a black one.
        may_be_recording = self._may_be_recording and not self.decoder.is_from_camera
        opening = self.decoder.opening if may_be_recording else None
        decoder = self._open(Resumption(self.decoder.clock, self._next_index, opening))
        self._dropped_before += self.decoder.dropped_frames
        self.is_live = not decoder.starts_over
        return decoder


def _explain_break(interruption: FFmpegError | None) -> str:
    """What broke a connection, without the address, which may contain a password."""
    if interruption is None:
        return "the connection ended"
    if isinstance(interruption, ExitError):
        return "the server fell silent"
    return interruption.strerror or "the connection broke"
