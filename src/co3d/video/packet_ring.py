"""The latest packets of a source, kept in memory, and clips made of them without re-encoding."""

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from co3d.errors import SandboxError
from co3d.files import output_file
from co3d.sandbox import find_sandbox
from co3d.video.clip import KeptPacket, StreamHead, make_clip
from co3d.video.packet_copier import CopiedItem, PacketCopier

MOST_BYTES = 32 * 2**20
MOST_CLIP_BYTES = 2 * MOST_BYTES
"""A clip has hardly more bytes than its packets; a sandboxed process may claim otherwise."""


class PacketRing:
    """Keeps the packets of the latest seconds, starting at a key frame, in bounded memory.

    Moments are the arrival times of packets (Unix time) for live sources, and presentation times
    for files. The ring neither parses nor trusts the packets' bytes: inside
    `co3d.read_in_sandbox` another process makes clips of them. Thread-safe.

    Args:
        seconds: how far back it reaches at least, if `most_bytes` allows.
        most_bytes: the memory that it takes at most.

    Attributes:
        seconds: as above; may be changed.
    """

    def __init__(self, seconds: float, most_bytes: int = MOST_BYTES) -> None:
        self.seconds, self._most_bytes = seconds, most_bytes
        self._lock = threading.Lock()
        self._kept: deque[_Place] = deque()
        self._bytes = 0
        self._head: StreamHead | None = None
        self._tap: PacketCopier | None = None
        self._is_closed = False

    def open_tap(self) -> PacketCopier:
        """What puts the packets of a source that is decoded in this process into the ring."""
        self._tap = PacketCopier(self.put)
        return self._tap

    def put(self, item: CopiedItem) -> None:
        """Take the head of a new connection, or the next packet of the present one."""
        with self._lock:
            self._is_closed = False
            if isinstance(item, StreamHead):
                self._head = item
            elif self._head is not None:
                self._keep(_Place(item, self._head))

    def close(self) -> None:
        """No more packets come; those in the ring can still be cut."""
        if self._tap is not None:
            self._tap.close()
        self._is_closed = True

    @property
    def notices(self) -> Sequence[str]:
        """What went wrong, as predicates whose subject is the source."""
        return () if self._tap is None else self._tap.notices

    @property
    def newest_seconds(self) -> float:
        """The moment of the newest packet; minus infinity before the first one."""
        with self._lock:
            return self._kept[-1].packet.moment_seconds if self._kept else -math.inf

    def reaches(self, moment_seconds: float) -> bool:
        """Whether all packets up to a moment have arrived, or no more come."""
        return self._is_closed or self.newest_seconds >= moment_seconds

    def cut(self, path: Path, from_seconds: float, until_seconds: float) -> "Cut | None":
        """Write the packets between two moments to a Matroska file, without re-encoding.

        The file begins at the last key frame before `from_seconds`, and has packets of one
        connection only: the one in which `until_seconds` lies.

        Returns:
            What was written; None where the ring holds none of it.

        Raises:
            FFmpegError, ValueError: as for `make_clip`.
            OutputError, OSError: the file cannot be written.
            SandboxError: the process that made the clip died, or made one that is too large.
        """
        places = self._find(from_seconds, until_seconds)
        if not places:
            return None
        head, packets = places[0].head, tuple(place.packet for place in places)
        clip = _make_clip(head, packets)
        with output_file(path) as temporary:
            temporary.write_bytes(clip)
        return Cut(packets)

    def _find(self, from_seconds: float, until_seconds: float) -> "list[_Place]":
        with self._lock:
            kept = [one for one in self._kept if one.packet.moment_seconds <= until_seconds]
        if not kept:
            return []
        kept = [one for one in kept if one.head is kept[-1].head]
        keys = [place for place, one in enumerate(kept) if one.packet.is_keyframe]
        before = [place for place in keys if kept[place].packet.moment_seconds <= from_seconds]
        if not keys:
            return []
        return kept[before[-1] if before else keys[0] :]

    def _keep(self, place: "_Place") -> None:
        self._kept.append(place)
        self._bytes += place.packet.bytes_taken
        if place.packet.is_keyframe:
            self._drop_old(place.packet.moment_seconds - self.seconds)
        while self._bytes > self._most_bytes and self._kept:
            self._drop_first_group()

    def _drop_old(self, oldest_seconds: float) -> None:
        """Drop groups of pictures while the next one also begins before `oldest_seconds`."""
        keys = [
            one.packet
            for one in self._kept
            if one.packet.is_keyframe and one.packet.moment_seconds <= oldest_seconds
        ]
        for _ in keys[1:]:
            self._drop_first_group()

    def _drop_first_group(self) -> None:
        """Drop packets up to the next key frame, or all."""
        self._drop_first()
        while self._kept and not self._kept[0].packet.is_keyframe:
            self._drop_first()

    def _drop_first(self) -> None:
        self._bytes -= self._kept.popleft().packet.bytes_taken


@dataclass(frozen=True)
class _Place:
    """A packet, and the stream that it belongs to."""

    packet: KeptPacket
    head: StreamHead


@dataclass(frozen=True)
class Cut:
    """What a clip contains.

    Attributes:
        packets: in decoding order.
    """

    packets: Sequence[KeptPacket]

    def find_place(self, moment_seconds: float) -> float:
        """When the picture of a moment is shown, in seconds from the clip's start."""
        before = [one for one in self.packets if one.moment_seconds <= moment_seconds]
        shown_seconds = before[-1].shown_seconds if before else self.packets[0].shown_seconds
        return shown_seconds - self.packets[0].dts_seconds


def _make_clip(head: StreamHead, packets: Sequence[KeptPacket]) -> bytes:
    """Make a clip, in the sandbox's process if there is one; its bytes are not parsed here."""
    sandbox = find_sandbox()
    if sandbox is None:
        return make_clip(head, packets)
    clip = sandbox.run(make_clip, head, packets)
    if len(clip) > MOST_CLIP_BYTES:
        raise SandboxError(
            f"the process that made a clip returned {len(clip) >> 20} MiB, expected "
            f"{MOST_CLIP_BYTES >> 20} MiB at most; the clip is left out"
        )
    return clip
