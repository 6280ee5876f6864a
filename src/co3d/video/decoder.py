"""Decode one video stream, going on past what cannot be decoded."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
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
from co3d.video.damage import LossTracker, Promise
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.live_clock import LiveClock
from co3d.video.opening import identify_packet
from co3d.video.orientation import read_orientation
from co3d.video.packet_tap import PacketTap
from co3d.video.packets import LatestPackets, ReceivedPacket, receive_packets
from co3d.video.picture import DecodedFrame, upright_size
from co3d.video.skipping import Skipper
from co3d.video.source import SourceInfo

FALLBACK_RATE_HZ = 25.0
"""For the few streams that state no rate and carry no timestamps."""


@dataclass(frozen=True)
class Received:
    """A decoded frame and when its last packet came, Unix time; None for files."""

    frame: av.VideoFrame
    received_seconds: float | None


Clock = PresentationClock[Received] | LiveClock[Received]

STATED_DURATION_FORMATS = ("mov", "matroska", "flv", "avi", "rtsp", "hls")
"""Containers and protocols that state a duration; for others FFmpeg estimates one."""

FROM_ZERO_FORMATS = ("matroska", "rtsp")
"""They count their duration from zero, whenever their first frame is shown."""


@dataclass(frozen=True)
class Resumption:
    """Where a live source broke off.

    Attributes:
        clock: of its frames. next_index: of the next frame.
        opening: what its first packet was, if that may tell a recording that is sent from its start
            again; None where it may not.
    """

    clock: Clock
    next_index: int
    opening: bytes | None


class VideoDecoder:
    """Frames of the video stream of one open container, in presentation order.

    The first frame is decoded at once, so that a source without any fails early and its upright
    size is known.

    Args:
        container: open for reading; `close` closes it.
        name: of the source, for messages.
        thread_type: "AUTO" is fastest; "SLICE" holds no frame back.
        threads: that decode; None for as many as FFmpeg thinks best.
        resumes: a live source goes on from an earlier connection; None starts anew.
        resumable: the source will be read again if it ends too early, and is live unless it states
            a duration. Then what the decoder still holds waits for `tail`, since it may lack a
            frame before it.
        drops_late: what of a live source comes faster than it is decoded is dropped.
        recorder: takes all packets as they come; closed by the caller.
        limits: of the source; those of frames are for files alone.

    Attributes:
        dropped_frames: frames dropped before they were decoded.
        opening: the time and a digest of the first packet.
        starts_over: the first packet is the one that the earlier connection began with: this is a
            recording, and its frames come from the first one on.

    Raises:
        EmptyVideoError, NotAVideoError, NoVideoStreamError: there is nothing to show.
        VideoLimitError: it claims too large pictures, or (later) has too many frames.
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
    ) -> None:
        self._container = container
        self._recorder = recorder
        self._name = name
        self._resumable = resumable
        self._queue: LatestPackets | None = None
        self._limits = limits
        try:
            self._stream = choose_stream(container, name, limits)
            self._stream.thread_type = thread_type
            if threads is not None:
                self._stream.thread_count = threads
            self.promise = read_promise(container, self._stream)
            self.duration_seconds = _duration_seconds(container)
            self.losses = LossTracker(self.promise)
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
        """What decoder and clock still hold when no more packets come; nothing the second time."""
        if (cut := self._cuts.find_rest()) is not None:
            self.losses.failed(cut.pts)
        yield from self._decode(None)
        yield from self._deliver(self.clock.release())

    @property
    def is_cut_short(self) -> bool:
        """Whether a source that has an end broke off before it."""
        if self.duration_seconds is None:
            return False
        if self.promise.end_seconds is None:  # its duration is an estimate
            return self.interruption is not None
        return not self.losses.reached_end

    def describe(self, *, is_live: bool) -> SourceInfo:
        """What the container says of itself."""
        return SourceInfo(
            name=self._name,
            is_live=is_live,
            rate_hz=None if self._counts_frames else self.promise.rate_hz,
            width=self.width,
            height=self.height,
            frame_count=self.promise.frame_count,
            duration_seconds=self.duration_seconds,
            sample_aspect_ratio=self._aspect,
        )

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
        """Go on from an earlier connection, unless the source starts over."""
        self.opening = identify_packet(first)
        if self._resumes is None:
            return
        self.starts_over = self.opening == self._resumes.opening
        if not self.starts_over:
            self.clock = self._resumes.clock
            self._first_index = self._next_index = self._resumes.next_index
            self.clock.resume()

    def _make_clock(self) -> PresentationClock[Any] | LiveClock[Any]:
        interval_seconds = 1 / (self.promise.rate_hz or FALLBACK_RATE_HZ)
        if not self.is_live:
            return PresentationClock(interval_seconds)
        return LiveClock(interval_seconds, has_timestamps=not self._counts_frames)

    @property
    def is_from_camera(self) -> bool:
        """Whether pictures come as cameras alone send them: in one endless answer, or each asked
        for.
        """
        return self._container.format.name == "mpjpeg" or self.is_snapshot

    @property
    def is_snapshot(self) -> bool:
        """Whether all that came is one picture, known at its end."""
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
        """Decode what should be decoded of the next packet and what was dropped before it."""
        packet = received.packet
        if received.dropped_before:
            yield from self._decode(None)
            self._stream.codec_context.flush_buffers()
            self._count_dropped(received.dropped_before + self._skipper.count_rest())
        self._received = received
        if not self.is_live:  # which has no end at which to count
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
            frames = self._stream.decode(packet)
        except EndOfFileError:  # the decoder had been emptied before
            return
        except FFmpegError:
            self.losses.failed(pts)
            return
        for frame in frames:
            self._limits.check_picture(frame.width, frame.height, self._name)
            self.losses.delivered(frame.pts, frame.is_corrupt, frame.interlaced_frame)
            pts_seconds = None if frame.pts is None else float(frame.pts * self.promise.time_base)
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


def read_promise(container: InputContainer, stream: VideoStream) -> Promise:
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
    return Promise(
        codec=stream.codec_context.name,
        time_base=stream.time_base or Fraction(1, av.time_base),
        rate_hz=float(rate) if rate else None,
        frame_count=frame_count,
        end_seconds=end_seconds,
    )


def _duration_seconds(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None
