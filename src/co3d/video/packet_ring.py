"""The latest packets of a source, in memory, and clips of them that are not encoded again."""

import io
import math
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from co3d.video.packet_tap import PacketTap, Received
from co3d.video.segment import Segment

MOST_BYTES = 32 * 2**20
PACKET_BYTES = 512
"""What a packet takes in memory beside its data, about."""


class StreamCopy:
    """What a file says of a video stream: its codec and pictures. It outlives the connection."""

    def __init__(self, stream: VideoStream) -> None:
        container = av.open(io.BytesIO(), "w", format="matroska")
        self.stream = container.add_stream_from_template(stream, opaque=True)
        self._container = container


@dataclass(frozen=True)
class KeptPacket:
    """A packet in the ring.

    Attributes:
        packet: a copy, which belongs to no container.
        dts_seconds, shown_after_seconds: see `Segment.add`.
        received_seconds: when it came, Unix time; None for files.
        origin: of which stream it is.
    """

    packet: Packet
    dts_seconds: float
    shown_after_seconds: float
    received_seconds: float | None
    origin: StreamCopy

    @property
    def shown_seconds(self) -> float:
        """When its picture is shown, on the source's clock."""
        return self.dts_seconds + self.shown_after_seconds

    @property
    def moment_seconds(self) -> float:
        """When it came, Unix time; of files, when its picture is shown."""
        return self.shown_seconds if self.received_seconds is None else self.received_seconds

    @property
    def bytes_taken(self) -> int:
        """In memory."""
        return self.packet.size + PACKET_BYTES


class PacketRing(PacketTap):
    """Keeps the packets of the latest seconds, from a key frame on, in bounded memory.

    Moments are those at which packets came, as Unix time, of sources that are live; of files, those
    at which pictures are shown.

    Args:
        seconds: how far back it reaches at least, if bytes allow.
        most_bytes: what it takes at most; where that is less, it reaches back less.

    Attributes:
        seconds: as above; may be changed.
    """

    def __init__(self, seconds: float, most_bytes: int = MOST_BYTES) -> None:
        super().__init__()
        self.seconds, self._most_bytes = seconds, most_bytes
        self._kept: deque[KeptPacket] = deque()
        self._bytes = 0
        self._origin: StreamCopy | None = None

    @property
    def newest_seconds(self) -> float:
        """The moment of the newest packet; minus infinity before the first one."""
        with self._lock:
            return self._kept[-1].moment_seconds if self._kept else -math.inf

    def reaches(self, moment_seconds: float) -> bool:
        """Whether all packets up to a moment have come, or none come any more."""
        return self._is_closed or self.newest_seconds >= moment_seconds

    def cut(self, path: Path, from_seconds: float, until_seconds: float) -> "Cut | None":
        """Write the packets between two moments, not encoded again, to a Matroska file.

        It begins at the last key frame before, and has packets of one connection: of several, those
        of the one in which `until_seconds` lies.

        Returns:
            What was written; None where the ring has nothing of it.

        Raises:
            FFmpegError, OSError, ValueError: as for `Segment`.
        """
        packets = self._find(from_seconds, until_seconds)
        if not packets:
            return None
        first = packets[0]
        segment = Segment(path, first.origin.stream, first.dts_seconds)
        with closing(segment):
            for kept in packets:
                segment.add(kept.packet, kept.dts_seconds, kept.shown_after_seconds)
        return Cut(tuple(packets))

    def _find(self, from_seconds: float, until_seconds: float) -> list[KeptPacket]:
        with self._lock:
            kept = [one for one in self._kept if one.moment_seconds <= until_seconds]
        if not kept:
            return []
        kept = [one for one in kept if one.origin is kept[-1].origin]
        keys = [place for place, one in enumerate(kept) if one.packet.is_keyframe]
        before = [place for place in keys if kept[place].moment_seconds <= from_seconds]
        if not keys:
            return []
        return kept[before[-1] if before else keys[0] :]

    def _connect(self) -> None:
        assert self._stream is not None
        self._origin = StreamCopy(self._stream)

    def _keep(self, received: Received, dts_seconds: float) -> None:
        assert self._origin is not None
        packet = av.Packet(bytes(received.packet))
        packet.is_keyframe = received.packet.is_keyframe
        kept = KeptPacket(
            packet,
            dts_seconds,
            received.shown_after_seconds,
            received.received_seconds,
            self._origin,
        )
        self._kept.append(kept)
        self._bytes += kept.bytes_taken
        if received.packet.is_keyframe:
            self._drop_old(kept.moment_seconds - self.seconds)
        while self._bytes > self._most_bytes and self._kept:
            self._drop_first_group()

    def _complete(self) -> None:
        """Packets stay: they can be cut after a connection is over."""

    def _drop_old(self, oldest_seconds: float) -> None:
        """Drop groups of pictures of which the next one begins before a moment, too."""
        keys = [
            one.moment_seconds
            for one in self._kept
            if one.packet.is_keyframe and one.moment_seconds <= oldest_seconds
        ]
        for _ in keys[1:]:
            self._drop_first_group()

    def _drop_first_group(self) -> None:
        """Drop up to the next key frame, or all."""
        self._drop_first()
        while self._kept and not self._kept[0].packet.is_keyframe:
            self._drop_first()

    def _drop_first(self) -> None:
        self._bytes -= self._kept.popleft().bytes_taken


@dataclass(frozen=True)
class Cut:
    """What a clip has.

    Attributes:
        packets: in the order in which they are decoded.
    """

    packets: Sequence[KeptPacket]

    def find_place(self, moment_seconds: float) -> float:
        """Where in the clip the picture of a moment is shown: seconds from its start."""
        before = [one for one in self.packets if one.moment_seconds <= moment_seconds]
        shown_seconds = before[-1].shown_seconds if before else self.packets[0].shown_seconds
        return shown_seconds - self.packets[0].dts_seconds
