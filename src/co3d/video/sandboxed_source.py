"""Frames of a source that a sandboxed process decodes, passed through shared memory."""

import mmap
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from co3d.errors import DamagedVideoError, OptionError, SandboxError
from co3d.sandbox import Conversation, Sandbox
from co3d.sandbox_child import ParentChannel
from co3d.video.address import hide_password
from co3d.video.damage import Damage
from co3d.video.frame import VideoFrame
from co3d.video.inputs import STANDARD_INPUT
from co3d.video.irregularities import Irregularities
from co3d.video.pace import Pace
from co3d.video.packet_copier import PacketCopier
from co3d.video.packet_relay import Copied, PacketRelay
from co3d.video.packet_ring import PacketRing
from co3d.video.picture import DecodedListener
from co3d.video.recording import Recorder
from co3d.video.source import FrameSource, SourceInfo
from co3d.video.source_state import SourceState, StateListener
from co3d.video.sources import OpenedSource, SourceRequest, open_source

RING_BYTES = 64 << 20
MOST_AHEAD = 8
"""The most pictures of a file that are decoded before they are requested, if they are small."""


@dataclass(frozen=True)
class _Opened:
    """The source is open."""

    info: SourceInfo
    notices: tuple[str, ...]
    comes_once: bool


@dataclass(frozen=True)
class _Start:
    """Start sending: a ring of `places` pictures, and how many to send without being asked."""

    rate_hz: float | None
    fill_gaps: bool
    places: int
    ahead: int


class _More:
    """One more frame may be sent."""


@dataclass(frozen=True)
class _Sent:
    """A frame; its picture lies in the ring unless it repeats the frame before."""

    pts_seconds: float
    index: int
    received_seconds: float | None
    is_repeat: bool
    dropped_frames: int
    processor_seconds: float
    notices: tuple[str, ...]
    irregularities: Irregularities
    pace: Pace


@dataclass(frozen=True)
class _Lost:
    """What a damaged source has lost; the error message follows."""

    damage: Damage | None


class _StoppedError(Exception):
    """Ends a source that nobody waits for any more."""


def open_in_sandbox(
    sandbox: Sandbox,
    request: SourceRequest,
    ring: Recorder | PacketRing | None,
    on_state: StateListener | None,
) -> OpenedSource:
    """Open a source in a process of its own.

    Args:
        ring: gets copies of the packets, which are not read here.

    Raises:
        OptionError: it is standard input, or is to be recorded.
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
    if isinstance(ring, Recorder):
        raise OptionError(
            f"cannot record {name} in a sandbox: its packets are not written there; leave --record "
            "or --sandbox out"
        )
    source = SandboxedSource(sandbox, request, name, ring, on_state)
    return OpenedSource(source, source.opening.notices, source.opening.comes_once)


class SandboxedSource:
    """A source in another process as a `FrameSource`.

    Attributes:
        opening: the message that the process sent once the source was open.
    """

    shows_decoded = False

    def __init__(
        self,
        sandbox: Sandbox,
        request: SourceRequest,
        name: str,
        ring: PacketRing | None,
        on_state: StateListener | None,
    ) -> None:
        self._name, self._ring, self._on_state = name, ring, on_state
        self._stopped = self._is_closed = False
        self.dropped_frames, self.elsewhere_seconds = 0, 0.0
        self.notices: Sequence[str] = ()
        self.irregularities = Irregularities()
        self.damage: Damage | None = None
        try:
            self._conversation: Conversation = sandbox.converse(
                serve_source, request, ring is not None
            )
        except SandboxError as error:
            raise self._explain(error) from error
        try:
            self.opening: _Opened = self._receive()
        except BaseException:
            self._conversation.close()
            raise
        self.info = self.opening.info
        self.pace = self.info.make_pace()

    def frames(
        self,
        rate_hz: float | None,
        *,
        fill_gaps: bool,
        on_decoded: DecodedListener | None = None,  # noqa: ARG002
    ) -> Iterator[VideoFrame]:
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
            self.irregularities = sent.irregularities
            self.elsewhere_seconds = sent.processor_seconds
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
        """Free the process for another source once its last packets came; may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self.stop()
        self._on_state = None
        with suppress(Exception):  # an error that ended the source was raised before
            while True:
                self._receive()
        self._conversation.close()

    def _receive(self) -> Any:
        """The next message; states and packets first go to the listener and the ring."""
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
            elif isinstance(message, Copied):
                if self._ring is not None:
                    for item in message.items:
                        self._ring.put(item)
            elif isinstance(message, _Lost):
                self.damage = message.damage
            else:
                return message

    def _explain(self, error: SandboxError) -> SandboxError:
        return SandboxError(f"cannot read {self._name}: {error}")


def serve_source(channel: ParentChannel, request: SourceRequest, copies_packets: bool) -> None:
    """Open a source and send its frames, and its packets if they are wanted; runs in the child."""
    relay = PacketRelay(channel.say)
    copier = PacketCopier(relay.put) if copies_packets else None

    def tell(state: SourceState) -> None:
        if channel.is_over:
            raise _StoppedError
        relay.flush()
        channel.say(state)

    with suppress(_StoppedError):
        opened = open_source(request, copier, tell)
        source = opened.source
        try:
            channel.say(_Opened(source.info, opened.notices, opened.comes_once))
            start = next(channel.listen(), None)
            if start is not None:
                _send_frames(channel, source, start, copier, relay)
        finally:
            source.close()
            if copier is not None:
                copier.close()
            relay.flush()


def _send_frames(
    channel: ParentChannel,
    source: FrameSource,
    start: _Start,
    copier: PacketCopier | None,
    relay: PacketRelay,
) -> None:
    assert channel.shared_memory is not None
    size = source.info.width * source.info.height * 3
    ring = np.frombuffer(mmap.mmap(channel.shared_memory, start.places * size), np.uint8)
    allowed, stopping = threading.Semaphore(start.ahead), threading.Event()

    def listen() -> None:
        for _ in channel.listen():
            allowed.release()
        stopping.set()
        source.stop()
        allowed.release()

    threading.Thread(target=listen, name="co3d is told", daemon=True).start()
    frames = source.frames(start.rate_hz, fill_gaps=start.fill_gaps)
    last: VideoFrame | None = None
    number, began_seconds = 0, time.process_time()
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
            relay.flush()
            channel.say(
                _Sent(
                    frame.pts_seconds,
                    frame.index,
                    frame.received_seconds,
                    is_repeat,
                    source.dropped_frames,
                    time.process_time() - began_seconds,
                    (*source.notices, *(copier.notices if copier is not None else ())),
                    source.irregularities,
                    source.pace,
                )
            )
    except DamagedVideoError:
        channel.say(_Lost(source.damage))
        raise
