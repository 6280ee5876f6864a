"""Frames of a source that a sandbox's process decodes, handed over in memory that both map."""

import mmap
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from co3d.errors import DamagedVideoError, OptionError, SandboxError
from co3d.sandbox import Conversation, Sandbox
from co3d.sandbox_child import Talk
from co3d.video.address import hide_password
from co3d.video.damage import Damage
from co3d.video.frame import VideoFrame
from co3d.video.inputs import STANDARD_INPUT
from co3d.video.pace import Pace
from co3d.video.packet_tap import PacketTap
from co3d.video.recording import Recorder
from co3d.video.source import FrameSource, SourceInfo
from co3d.video.source_state import SourceState, StateListener
from co3d.video.sources import OpenedSource, SourceRequest, open_source

RING_BYTES = 64 << 20
MOST_AHEAD = 8
"""Pictures of a file that are decoded before they are asked for, if they are small enough."""


@dataclass(frozen=True)
class _Opened:
    """The source is open."""

    info: SourceInfo
    notices: tuple[str, ...]
    comes_once: bool


@dataclass(frozen=True)
class _Start:
    """Send frames: into a ring of so many places, so many of them without being asked."""

    rate_hz: float | None
    fill_gaps: bool
    places: int
    ahead: int


class _More:
    """One more frame may be sent."""


@dataclass(frozen=True)
class _Sent:
    """A frame, whose picture lies in the ring unless it is that of the frame before."""

    pts_seconds: float
    index: int
    received_seconds: float | None
    is_repeat: bool
    dropped_frames: int
    notices: tuple[str, ...]
    pace: Pace


@dataclass(frozen=True)
class _Lost:
    """What a damaged source has lost; the error follows."""

    damage: Damage | None


class _StoppedError(Exception):
    """Ends the opening of a source that nobody waits for any more."""


def open_in_sandbox(
    sandbox: Sandbox,
    request: SourceRequest,
    recorder: PacketTap | None,
    on_state: StateListener | None,
) -> OpenedSource:
    """Open a source in a process of its own.

    Raises:
        OptionError: it is standard input, or its packets are to be recorded.
        SandboxError: the process died.
        What `open_source` raises.
    """
    name = hide_password(str(request.source))
    if sys.platform == "win32":
        raise OptionError(
            f"cannot read {name} in a sandbox on Windows, where no memory is shared with it; leave "
            "--sandbox out"
        )
    if request.source == STANDARD_INPUT:
        raise OptionError(
            "cannot read standard input in a sandbox: name a FIFO or a file, or leave --sandbox out"
        )
    if isinstance(recorder, Recorder):
        raise OptionError(
            f"cannot record {name} in a sandbox: packets are not decoded there; leave --record or "
            "--sandbox out"
        )
    source = SandboxedSource(sandbox, request, name, on_state)
    return OpenedSource(source, source.opening.notices, source.opening.comes_once)


class SandboxedSource:
    """A source in another process as a `FrameSource`.

    Attributes:
        opening: what it said when it was open.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        request: SourceRequest,
        name: str,
        on_state: StateListener | None,
    ) -> None:
        self._name, self._on_state = name, on_state
        self._stopped = False
        self.dropped_frames = 0
        self.notices: Sequence[str] = ()
        self.damage: Damage | None = None
        try:
            self._conversation: Conversation = sandbox.converse(serve_source, request)
        except SandboxError as error:
            raise self._explain(error) from error
        try:
            self.opening: _Opened = self._receive()
        except BaseException:
            self._conversation.close()
            raise
        self.info = self.opening.info
        self.pace = self.info.make_pace()

    def frames(self, rate_hz: float | None, *, fill_gaps: bool) -> Iterator[VideoFrame]:
        """Frames of the source; see `FrameSource.frames`."""
        shape = (self.info.height, self.info.width, 3)
        size = int(np.prod(shape))
        is_live = self.info.is_live
        places = 1 if is_live else max(2, min(MOST_AHEAD, RING_BYTES // size))
        descriptor = self._conversation.share(places * size)
        ring = np.frombuffer(mmap.mmap(descriptor, places * size), np.uint8)
        self._conversation.say(_Start(rate_hz, fill_gaps, places, 0 if is_live else places))
        number, last = 0, None
        while True:
            if is_live:
                self._conversation.say(_More())
            try:
                sent: _Sent = self._receive()
            except EOFError:
                return
            self.dropped_frames, self.notices = sent.dropped_frames, sent.notices
            self.pace.take_over(sent.pace)
            if last is None or not sent.is_repeat:
                place = number % places * size
                picture = ring[place : place + size].reshape(shape).copy()
                last = VideoFrame(
                    picture, sent.pts_seconds, sent.index, received_seconds=sent.received_seconds
                )
            number += 1
            if not is_live:
                self._conversation.say(_More())
            if self._stopped:
                return
            yield last

    def stop(self) -> None:
        """End the iteration; see `FrameSource.stop`."""
        self._stopped = True
        self._conversation.stop()

    def close(self) -> None:
        """Free the process for another source."""
        self._conversation.close()

    def _receive(self) -> Any:
        """The next message but states, which the listener gets."""
        while True:
            try:
                message = self._conversation.receive()
            except SandboxError as error:
                if self._stopped:
                    raise EOFError from error
                raise self._explain(error) from error
            if isinstance(message, SourceState):
                if self._on_state is not None:
                    self._on_state(message)
            elif isinstance(message, _Lost):
                self.damage = message.damage
            else:
                return message

    def _explain(self, error: SandboxError) -> SandboxError:
        return SandboxError(f"cannot read {self._name}: {error}")


def serve_source(talk: Talk, request: SourceRequest) -> None:
    """Open a source and send its frames; runs in the child."""

    def tell(state: SourceState) -> None:
        if talk.is_over:
            raise _StoppedError
        talk.say(state)

    opened = open_source(request, None, tell)
    source = opened.source
    try:
        talk.say(_Opened(source.info, opened.notices, opened.comes_once))
        start = next(talk.listen(), None)
        if start is not None:
            _send_frames(talk, source, start)
    finally:
        source.close()


def _send_frames(talk: Talk, source: FrameSource, start: _Start) -> None:
    assert talk.shared_memory is not None
    size = source.info.width * source.info.height * 3
    ring = np.frombuffer(mmap.mmap(talk.shared_memory, start.places * size), np.uint8)
    allowed, stopping = threading.Semaphore(start.ahead), threading.Event()

    def listen() -> None:
        for _ in talk.listen():
            allowed.release()
        stopping.set()
        source.stop()
        allowed.release()

    threading.Thread(target=listen, name="co3d is told", daemon=True).start()
    frames = source.frames(start.rate_hz, fill_gaps=start.fill_gaps)
    last: VideoFrame | None = None
    number = 0
    try:
        while True:
            allowed.acquire()
            if stopping.is_set() or (frame := next(frames, None)) is None:
                return
            is_repeat = frame is last
            if not is_repeat:
                place = number % start.places * size
                ring[place : place + size] = frame.image.reshape(-1)
            last = frame
            number += 1
            talk.say(
                _Sent(
                    frame.pts_seconds,
                    frame.index,
                    frame.received_seconds,
                    is_repeat,
                    source.dropped_frames,
                    tuple(source.notices),
                    source.pace,
                )
            )
    except DamagedVideoError:
        talk.say(_Lost(source.damage))
        raise
