"""Decode one video stream, skipping what cannot be decoded."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any

import av
from av.container import InputContainer
from av.error import EOFError as EndOfFileError
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from co3d.errors import EmptyVideoError
from co3d.video.aspect import read_aspect
from co3d.video.clock import NO_ARRIVAL, PresentationClock
from co3d.video.container import choose_stream
from co3d.video.cuts import CutPackets
from co3d.video.damage import LossTracker, StreamMetadata
from co3d.video.hardware import explain_fallback
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.live_clock import LiveClock
from co3d.video.opening import identify_packet
from co3d.video.orientation import read_orientation
from co3d.video.packet_tap import PacketTap
from co3d.video.packets import LatestPackets, ReceivedPacket, WaitListener, receive_packets
from co3d.video.picture import DecodedFrame, upright_size
from co3d.video.skipping import Skipper
from co3d.video.source import SourceInfo
from co3d.video.turns import decoding_turns

FALLBACK_RATE_HZ = 25.0
"""The rate assumed for the few streams that state none and carry no timestamps."""


@dataclass(frozen=True)
class Received:
    """A decoded frame and the Unix time at which its last packet arrived; None for files."""

    frame: av.VideoFrame
    received_seconds: float | None


Clock = PresentationClock[Received] | LiveClock[Received]

STATED_DURATION_FORMATS = ("mov", "matroska", "flv", "avi", "rtsp", "hls")
"""Containers and protocols that state a duration; for others FFmpeg estimates one."""

FROM_ZERO_FORMATS = ("matroska", "rtsp")
"""These count their duration from zero, even if their first frame is shown later."""


@dataclass(frozen=True)
class Resumption:
    """Where a live source broke off, so that a new connection can continue there.

    Attributes:
        clock: of its frames. next_index: of the next frame.
        opening: what its first packet was, to recognise a recording that is sent from its start
            again; None where that is ruled out.
    """

    clock: Clock
    next_index: int
    opening: bytes | None


class VideoDecoder:
    """Frames of the video stream of one open container, in presentation order.

    The first frame is decoded at once, so that a source without any frame fails early and the
    upright size is known.

    Args:
        container: open for reading; `close` closes it.
        name: of the source, for messages.
        thread_type: "AUTO" is fastest; "SLICE" delays no frame.
        threads: of the decoder; None lets FFmpeg choose.
        resumes: the earlier connection that a live source continues; None starts anew.
        resumable: the source will be read again if it ends too early, and is live unless it states
            a duration. Frames that the decoder still holds then wait for `tail`, since a frame
            before them may be missing.
        drops_late: drop what of a live source arrives faster than it is decoded.
        recorder: gets all packets as they arrive; the caller closes it.
        limits: of the source; those on frames apply to files only.
        on_wait: see `LatestPackets`.

    Attributes:
        dropped_frames: frames dropped before they were decoded.
        opening: the time and a digest of the first packet.
        starts_over: the first packet equals the earlier connection's first: the source is a
            recording, and its frames come from the start again.

    Raises:
        EmptyVideoError, NotAVideoError, NoVideoStreamError: there is no frame to show.
        VideoLimitError: its pictures are too large, or (later) it has too many frames.
        OptionError: the device named for decoding has no decoder for it.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        *,
        thread_type: str = "AUTO",
        threads: int | None = None,
        resumes: Resumption | None = None,
        resumable: bool = False,
        drops_late: bool = False,
        recorder: PacketTap | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        on_wait: WaitListener | None = None,
    ) -> None:
        self._container = container
        self._recorder = recorder
        self._name = name
        self._resumable = resumable
        self._queue: LatestPackets | None = None
        self._limits = limits
        try:
            self._stream = choose_stream(container, name, limits)
            self._fallback = explain_fallback(self._stream.codec_context)
            self._stream.thread_type = thread_type
            if threads is not None:
                self._stream.thread_count = threads
            self.metadata = read_metadata(container, self._stream)
            self.duration_seconds = _duration_seconds(container)
            self.losses = LossTracker(self.metadata)
            self.is_live = resumable and self.duration_seconds is None
            self.clock = self._make_clock()
            self._first_index = self._next_index = self.dropped_frames = 0
            self._resumes = resumes
            if recorder is not None:
                may_repeat = not self.is_live or (
                    resumes is not None and resumes.opening is not None
                )
                recorder.begin(
                    self._stream,
                    self._make_clock(),
                    is_live=self.is_live,
                    may_repeat=may_repeat,
                    goes_on=self._is_picture and resumes is not None,
                )
            self.opening: bytes | None = None
            self.starts_over = False
            self._received: ReceivedPacket | None = None
            self._cuts = CutPackets(container.format.name)
            self._skipper = Skipper(self._stream.codec_context)
            if self.is_live and drops_late and not self._is_picture:
                self._queue = LatestPackets(
                    container,
                    self._stream,
                    counts_frames=self._counts_frames,
                    recorder=recorder,
                    on_wait=on_wait,
                )
            self.interruption: FFmpegError | None = None
            self._frames = self._decode_all()
            self._first = next(self._frames, None)
            if self._first is None:
                raise EmptyVideoError(
                    f"cannot read {name}: no frame of at most {limits.pixels} pixels decodes; "
                    "fetch it again"
                )
            self.width, self.height = upright_size(self._first.frame)
            self._aspect = read_orientation(self._first.frame).aspect_of(read_aspect(self._stream))
        except BaseException:
            self._release()
            if recorder is not None:
                recorder.finish()
            raise

    def frames(self) -> Iterator[DecodedFrame]:
        """All frames, once. Afterwards `interruption` says what broke the container, if any."""
        first, self._first = self._first, None
        return chain([first] if first else [], self._frames)

    def tail(self) -> Iterator[DecodedFrame]:
        """The frames that decoder and clock hold when no more packets come; empty if repeated."""
        if (cut := self._cuts.find_rest()) is not None:
            self.losses.failed(cut.pts)
        yield from self._decode(None)
        yield from self._deliver(self.clock.release())

    @property
    def is_cut_short(self) -> bool:
        """Whether a source with a stated end broke off before it."""
        if self.duration_seconds is None:
            return False
        if self.metadata.end_seconds is None:  # its duration is an estimate
            return self.interruption is not None
        return not self.losses.reached_end

    def describe(self, *, is_live: bool) -> SourceInfo:
        """What the container states about the source."""
        return SourceInfo(
            name=self._name,
            is_live=is_live,
            rate_hz=None if self._counts_frames else self.metadata.rate_hz,
            width=self.width,
            height=self.height,
            frame_count=self.metadata.frame_count,
            duration_seconds=self.duration_seconds,
            sample_aspect_ratio=self._aspect,
        )

    @property
    def notices(self) -> list[str]:
        """What is odd about its clock and decoder, as predicates whose subject is the source."""
        return [*self.clock.notices, *([self._fallback] if self._fallback else [])]

    @property
    def reads_ahead(self) -> bool:
        """Whether a thread of its own reads packets, so that a slow decoder does not delay it."""
        return self._queue is not None

    def close(self) -> None:
        """Close the container; not while another thread decodes."""
        self._frames.close()
        self._release()
        if self._recorder is not None and self.is_live and not self._is_picture:
            self._recorder.finish()

    def _release(self) -> None:
        (self._queue or self._container).close()

    def _decode_all(self) -> Generator[DecodedFrame, None, None]:
        packets = self._queue or receive_packets(
            self._container, arrive=self._resumable, recorder=self._recorder
        )
        try:
            for received in packets:
                packet = received.packet
                is_video = packet.stream_index == self._stream.index
                if packet.pts is not None and packet.time_base is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    dts = packet.dts if is_video else None
                    decoded = None if dts is None else float(dts * packet.time_base)
                    self.losses.demuxed(float(end), decoded)
                if is_video and packet.size:
                    if self.opening is None:
                        self._begin(packet)
                    yield from self._take(received)
        except FFmpegError as error:
            self.interruption = error
            self.losses.interrupted()
        if not (self._resumable and self.is_cut_short):
            yield from self.tail()

    def _begin(self, first: Packet) -> None:
        """Continue an earlier connection, unless the source starts over."""
        self.opening = identify_packet(first)
        if self._resumes is None:
            return
        self.starts_over = self.opening == self._resumes.opening
        if not self.starts_over:
            self.clock = self._resumes.clock
            self._first_index = self._next_index = self._resumes.next_index
            self.clock.resume()

    def _make_clock(self) -> PresentationClock[Any] | LiveClock[Any]:
        interval_seconds = 1 / (self.metadata.rate_hz or FALLBACK_RATE_HZ)
        if not self.is_live:
            return PresentationClock(interval_seconds)
        return LiveClock(interval_seconds, has_timestamps=not self._counts_frames)

    @property
    def is_from_camera(self) -> bool:
        """Whether pictures come as only cameras send them: in an endless answer or one by one."""
        return self._container.format.name == "mpjpeg" or self.is_snapshot

    @property
    def is_snapshot(self) -> bool:
        """Whether the source sent a single picture; known at its end."""
        return self._is_picture and self._next_index - self._first_index == 1

    @property
    def _is_picture(self) -> bool:
        return self._container.format.name.endswith("_pipe")

    @property
    def _counts_frames(self) -> bool:
        """Whether the timestamps of a live source are made up from a count of its frames."""
        kind = self._container.format
        counts = kind.flags & Flags.no_timestamps.value or kind.name.endswith("pipe")
        return self.is_live and bool(counts)

    def _take(self, received: ReceivedPacket) -> Iterator[DecodedFrame]:
        """Decode the next packet if it should be, and count those dropped before it."""
        packet = received.packet
        if received.dropped_before:
            yield from self._decode(None)
            self._stream.codec_context.flush_buffers()
            self._count_dropped(received.dropped_before + self._skipper.count_rest())
        self._received = received
        if not self.is_live:  # a live source has no end at which losses are counted
            self.losses.sent(packet.pts, packet.is_discard)
        if (cut := self._cuts.find(packet)) is not None:
            self.losses.failed(cut.pts)
        if self._cuts.can_decode(packet):
            self._skipper.prepare(received)
            yield from self._decode(packet)

    def _count_dropped(self, frames: int) -> None:
        self.dropped_frames += frames
        self._next_index += frames

    def _decode(self, packet: Packet | None) -> Iterator[DecodedFrame]:
        pts = packet.pts if packet else None
        try:
            frames = decoding_turns.take(partial(self._stream.decode, packet))
        except EndOfFileError:  # the decoder was flushed before
            return
        except FFmpegError:
            self.losses.failed(pts)
            return
        for frame in frames:
            self._limits.check_picture(frame.width, frame.height, self._name)
            self.losses.delivered(frame.pts, frame.is_corrupt, frame.interlaced_frame)
            pts_seconds = None if frame.pts is None else float(frame.pts * self.metadata.time_base)
            self._count_dropped(self._skipper.count(frame.pts))
            arrival, received_seconds = NO_ARRIVAL, None
            if self._received is not None:
                arrival, received_seconds = self._received.arrival, self._received.received_seconds
            received = Received(frame, received_seconds)
            yield from self._deliver(self.clock.put(received, pts_seconds, arrival))

    def _deliver(self, stamped: list[tuple[Received, float]]) -> Iterator[DecodedFrame]:
        for received, pts_seconds in stamped:
            if not self._resumable:
                self._limits.check_frames(self._next_index + 1, self._name)
            yield DecodedFrame(
                received.frame, pts_seconds, self._next_index, received.received_seconds
            )
            self._next_index += 1


def read_metadata(container: InputContainer, stream: VideoStream) -> StreamMetadata:
    """What the header states about a video stream."""
    rate = stream.average_rate or stream.guessed_rate
    duration_seconds = _duration_seconds(container)
    frame_count = stream.frames or None
    if frame_count is None and rate and duration_seconds:
        frame_count = round(duration_seconds * rate)
    end_seconds = None
    if duration_seconds is not None and container.format.name.startswith(STATED_DURATION_FORMATS):
        counts_from_zero = container.format.name.startswith(FROM_ZERO_FORMATS)
        start = 0 if counts_from_zero else container.start_time or 0
        end_seconds = start / av.time_base + duration_seconds
    return StreamMetadata(
        codec=stream.codec_context.name,
        time_base=stream.time_base or Fraction(1, av.time_base),
        rate_hz=float(rate) if rate else None,
        frame_count=frame_count,
        end_seconds=end_seconds,
    )


def _duration_seconds(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None
