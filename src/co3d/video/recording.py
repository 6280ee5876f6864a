"""Record the packets of a source as they come, without encoding them again."""

import math
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from co3d.video.clock import Arrival, PresentationClock
from co3d.video.live_clock import LiveClock
from co3d.video.opening import identify_packet
from co3d.video.segment import Segment

LONGEST_REORDERING_SECONDS = 10.0
"""A picture that is shown so long after it is decoded has a wild timestamp."""

MOST_REORDERED = 16
"""So many pictures are put in order at most."""

LONGEST_KEYLESS_SECONDS = 30.0
"""Cameras send a key frame every few seconds; one that sends none for so long may never."""

FAILURES = (FFmpegError, OSError, ValueError)


@dataclass(frozen=True)
class Received:
    """A packet as it was demuxed.

    Attributes:
        shown_after_seconds: from its decoding time until it is shown.
        received_seconds: when it came, Unix time; None for files.
    """

    packet: Packet
    shown_after_seconds: float
    received_seconds: float | None


Clock = PresentationClock[Received] | LiveClock[Received]


class Recorder:
    """Writes the packets of a source's video stream to a folder, in files that play by themselves.

    Each file begins with a key frame and ends before the first one after `segment_seconds`, or
    where the connection breaks. It gets its name once it is complete: of a live source the time of
    day in UTC at which its first packet came, of others the time of its first frame in seconds.
    What cannot be written is told, and the next file is tried `segment_seconds` later.

    Args:
        folder: where to write; it exists.
        segment_seconds: how long a file is, about.

    Attributes:
        notices: what went wrong, in sentences without a subject.
        segments_written: how many files are complete.
        folder: where they are.
    """

    def __init__(self, folder: Path, segment_seconds: float) -> None:
        self.notices: list[str] = []
        self.segments_written = 0
        self.folder = folder
        self._segment_seconds = segment_seconds
        self._lock = threading.Lock()
        self._is_closed = False
        self._stream: VideoStream | None = None
        self._next_clock: Clock | None = None
        self._clock: Clock | None = None
        self._is_live = self._may_repeat = self._goes_on = False
        self._codec = ""
        self._opening = b""
        self._packets = self._skipped = self._undated = 0
        self._dts_seconds: float | None = None
        self._segment: Segment | None = None
        self._segment_name = ""
        self._is_failing = False
        self._retry_seconds = -math.inf
        self._keyless_since_seconds: float | None = None
        self._keyless_seconds, self._is_keyless_told = 0.0, False

    def begin(
        self,
        stream: VideoStream,
        clock: Clock,
        *,
        is_live: bool,
        may_repeat: bool,
        goes_on: bool = False,
    ) -> None:
        """Take packets of a new connection from now on.

        Args:
            stream: whose packets are recorded.
            clock: for their decoding times; a new one.
            is_live: whether packets come when they happen.
            may_repeat: the source is read again from its start if its first packet is the same as
                that of the connection before. Then those that are recorded already are passed over.
            goes_on: each connection sends one picture. They go to the file that is open, as long as
                they are of one codec, and one that has not changed is recorded once.
        """
        with self._lock:
            codec = stream.codec_context.name
            self._goes_on = goes_on and codec == self._codec
            self._stream, self._next_clock, self._codec = stream, clock, codec
            self._is_live, self._may_repeat = is_live, may_repeat

    def take(self, packet: Packet, arrival: Arrival, received_seconds: float | None) -> None:
        """Record a packet, if it is of the stream and whole.

        Args:
            arrival: when it came. received_seconds: the same as Unix time; None for files.
        """
        with self._lock:
            if self._is_closed or self._stream is None or not packet.size:
                return
            if packet.stream_index != self._stream.index:
                return
            if self._next_clock is not None:
                self._start_connection(packet, self._next_clock)
            if packet.is_corrupt:
                return
            if self._skipped:
                self._skipped -= 1
                return
            self._packets += 1
            dts_seconds = self._tell_dts(packet)
            shown_after = _measure_reordering(packet, dts_seconds)
            received = Received(packet, shown_after, received_seconds)
            assert self._clock is not None
            self._write(self._clock.put(received, dts_seconds, arrival))

    def finish(self) -> None:
        """Complete the file: the connection is over."""
        with self._lock:
            self._finish()

    def close(self) -> None:
        """Complete the file and take no more packets; twice is fine."""
        with self._lock:
            self._finish()
            self._is_closed = True

    def _start_connection(self, first: Packet, clock: Clock) -> None:
        opening = identify_packet(first)
        if self._goes_on:
            self._skipped = int(opening == self._opening)
            self._opening = opening
        elif self._may_repeat and opening == self._opening:
            self._skipped = self._packets
        else:
            self._finish()
            self._opening, self._clock = opening, clock
            self._packets = self._skipped = self._undated = 0
            self._dts_seconds = None
            self._retry_seconds = -math.inf
        self._next_clock = None

    def _tell_dts(self, packet: Packet) -> float | None:
        """A packet's decoding time; None where the container is silent.

        Of the first few packets, until pictures have been put in order, only the time is known at
        which they are shown, which may be late.
        """
        if packet.dts is None and self._dts_seconds is not None and self._undated < MOST_REORDERED:
            self._undated += 1
            return self._dts_seconds
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or packet.time_base is None:
            return None
        self._dts_seconds = float(stamp * packet.time_base)
        return self._dts_seconds

    def _finish(self) -> None:
        if self._clock is not None:
            self._write(self._clock.release())
        if self._keyless_since_seconds is not None and not self.segments_written:
            self._tell_keyless()
        self._complete()

    def _write(self, stamped: list[tuple[Received, float]]) -> None:
        for received, dts_seconds in stamped:
            try:
                self._write_packet(received, dts_seconds)
            except FAILURES as error:
                self._fail(error, dts_seconds)

    def _write_packet(self, received: Received, dts_seconds: float) -> None:
        if received.packet.is_keyframe:
            start_seconds = self._segment.start_seconds if self._segment else math.inf
            if dts_seconds - start_seconds >= self._segment_seconds:
                self._complete()
            if self._segment is None and dts_seconds >= self._retry_seconds:
                self._open(received, dts_seconds)
        elif self._segment is None and not self._is_failing:
            self._watch_keyless(dts_seconds)
        if self._segment is not None:
            self._segment.add(received.packet, dts_seconds, received.shown_after_seconds)

    def _watch_keyless(self, dts_seconds: float) -> None:
        """Say so where no file begins, because no packet is marked as a key frame."""
        if self._keyless_since_seconds is None:
            self._keyless_since_seconds = dts_seconds
        self._keyless_seconds = dts_seconds - self._keyless_since_seconds
        if self._keyless_seconds >= LONGEST_KEYLESS_SECONDS:
            self._tell_keyless()

    def _tell_keyless(self) -> None:
        if not self._is_keyless_told:
            self._is_keyless_told = True
            self.notices.append(
                f"is not recorded: no key frame came in {self._keyless_seconds:.1f} s; let the "
                "source send them more often"
            )

    def _open(self, first: Received, dts_seconds: float) -> None:
        assert self._stream is not None
        self._segment_name = self._name(first, dts_seconds)
        path = self.folder / f"{self._segment_name}.mkv"
        self._segment = Segment(path, self._stream, dts_seconds)
        self._keyless_since_seconds = None

    def _complete(self) -> None:
        """Close the file, if one is open."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except FAILURES as error:
            self._fail(error, segment.start_seconds)
            return
        self.segments_written += 1
        if self._is_failing:
            self._is_failing = False
            self.notices.append(f"is recorded again from {self._segment_name} on")

    def _fail(self, error: Exception, dts_seconds: float) -> None:
        """Give the file up, and say so unless the one before failed too."""
        self._segment = None
        self._retry_seconds = dts_seconds + self._segment_seconds
        if self._is_failing:
            return
        self._is_failing = True
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or str(cause)
        self.notices.append(
            f"is not recorded from {self._segment_name} on: {reason}; the rest goes on, and "
            f"recording is tried again every {self._segment_seconds:g} s"
        )

    def _name(self, received: Received, dts_seconds: float) -> str:
        if self._is_live and received.received_seconds is not None:
            moment = datetime.fromtimestamp(received.received_seconds, timezone.utc)
            return f"{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03d}Z"
        return f"{dts_seconds + received.shown_after_seconds:012.3f}s"


def _measure_reordering(packet: Packet, dts_seconds: float | None) -> float:
    """Seconds from a packet's decoding time until it is shown."""
    if packet.pts is None or packet.time_base is None or dts_seconds is None:
        return 0.0
    seconds = float(packet.pts * packet.time_base) - dts_seconds
    return seconds if 0 <= seconds < LONGEST_REORDERING_SECONDS else 0.0
