"""Receive the packets of a source as they arrive, with their decoding times."""

import threading
from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream

from co3d.video.clock import Arrival, PresentationClock
from co3d.video.live_clock import LiveClock
from co3d.video.opening import identify_packet

LONGEST_REORDERING_SECONDS = 10.0
"""A picture that is shown this long after it is decoded has a wrong timestamp."""

MOST_REORDERED = 16
"""The most pictures that a decoder reorders."""


@dataclass(frozen=True)
class Received:
    """A packet as it was demuxed.

    Attributes:
        shown_after_seconds: from its decoding time to its presentation time.
        received_seconds: when it came, Unix time; None for files.
    """

    packet: Packet
    shown_after_seconds: float
    received_seconds: float | None


Clock = PresentationClock[Received] | LiveClock[Received]


class PacketTap:
    """Gets a source's video packets in order, each once, with times that never decrease.

    Subclasses define what happens to the packets. Thread-safe.

    Attributes:
        notices: what went wrong, as predicates whose subject is the source.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
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
            stream: whose packets are taken.
            clock: a new one, for their decoding times.
            is_live: whether packets arrive as they are captured.
            may_repeat: the source is read again from its start if its first packet equals the one
                of the connection before. Packets that were received already are then skipped.
            goes_on: each connection sends one picture. Its packets continue the earlier ones while
                the codec stays the same, and a picture that has not changed is taken once.
        """
        with self._lock:
            codec = stream.codec_context.name
            self._goes_on = goes_on and codec == self._codec
            self._stream, self._next_clock, self._codec = stream, clock, codec
            self._is_live, self._may_repeat = is_live, may_repeat

    def take(self, packet: Packet, arrival: Arrival, received_seconds: float | None) -> None:
        """Take a packet if it belongs to the stream and is whole.

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
            dts_seconds = self._read_dts(packet)
            shown_after = _measure_reordering(packet, dts_seconds)
            received = Received(packet, shown_after, received_seconds)
            assert self._clock is not None
            self._keep_all(self._clock.put(received, dts_seconds, arrival))

    def finish(self) -> None:
        """Note that the connection is over."""
        with self._lock:
            self._finish()

    def close(self) -> None:
        """Finish, and take no more packets; may be called twice."""
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
            self._connect()
        self._next_clock = None

    def _read_dts(self, packet: Packet) -> float | None:
        """A packet's decoding time; None where the container does not state it.

        For the first few packets, before the decoder's reordering is known, this is the
        presentation time, which may be later.
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
            self._keep_all(self._clock.release())
        self._complete()

    def _keep_all(self, stamped: list[tuple[Received, float]]) -> None:
        for received, dts_seconds in stamped:
            self._keep(received, dts_seconds)

    def _connect(self) -> None:
        """Prepare for packets of another stream, beginning with its first one."""
        raise NotImplementedError

    def _keep(self, received: Received, dts_seconds: float) -> None:
        """Take the next packet, whose decoding time never decreases."""
        raise NotImplementedError

    def _complete(self) -> None:
        """Note that no more packets of this connection follow."""
        raise NotImplementedError


def _measure_reordering(packet: Packet, dts_seconds: float | None) -> float:
    """Seconds from a packet's decoding time until it is shown."""
    if packet.pts is None or packet.time_base is None or dts_seconds is None:
        return 0.0
    seconds = float(packet.pts * packet.time_base) - dts_seconds
    return seconds if 0 <= seconds < LONGEST_REORDERING_SECONDS else 0.0
