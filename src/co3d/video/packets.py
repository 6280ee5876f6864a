"""Packets of an open container as they come, and of a live one the latest that can be decoded."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from co3d.video.clock import Arrival
from co3d.video.container import read_packets
from co3d.video.frame_queue import FrameQueue
from co3d.video.lateness import DueTimes
from co3d.video.packet_tap import PacketTap

JOIN_SECONDS = 1.0
"""A thread that waits for a silent server is left behind; its read times out soon after."""

QUEUED_BYTES = 64 * 2**20
"""Then the source has to wait, as one does that sends a whole recording at once."""

SKIP_SECONDS = 0.25
"""So late, pictures that no other one needs are not decoded."""

LONGEST_SECONDS = 2.0
"""So late, decoding goes on at the next key frame. Pictures in one piece fill a window until then;
going on earlier would cut them into pieces that fill none."""

FRESH_SECONDS = 0.5
"""So late a key frame that has come already is near enough to go on at."""


@dataclass(frozen=True)
class ReceivedPacket:
    """A packet and when it came.

    Attributes:
        packet: of any stream of the container.
        arrival: on a steady clock.
        received_seconds: Unix time; None for files.
        due_seconds: when it should be decoded, on the steady clock; see `DueTimes`.
        is_late: whether the decoder is behind, and pictures that no other one needs are to be
            left out.
        dropped_before: packets just before this one that were thrown away.
    """

    packet: Packet
    arrival: Arrival
    received_seconds: float | None
    due_seconds: float
    is_late: bool = False
    dropped_before: int = 0


def receive_packets(
    container: InputContainer, *, arrive: bool, recorder: PacketTap | None = None
) -> Iterator[ReceivedPacket]:
    """Packets of all streams; those of sources far away `arrive`, those of files do not.

    A recorder takes them all, as they come.

    Raises FFmpegError where the container breaks off.
    """
    packets, waited_seconds = read_packets(container), 0.0
    while True:
        asked = time.monotonic()
        packet = next(packets, None)
        now = time.monotonic()
        waited_seconds += now - asked
        if packet is None:
            return
        received_seconds = time.time() if arrive else None
        arrival = Arrival(now, waited_seconds)
        if recorder is not None:
            recorder.take(packet, arrival, received_seconds)
        yield ReceivedPacket(packet, arrival, received_seconds, now)


class LatestPackets:
    """Packets of a live video stream; those that come faster than they are decoded are dropped.

    A thread reads them as they come, so that lateness is seen before anything is decoded.

    Args:
        container: closed by `close`, in the thread if that still waits for the server.
        stream: the only one whose packets are kept.
        counts_frames: whether timestamps are made up, so that a packet is due when it comes.
        recorder: takes all packets, those that are dropped too.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        counts_frames: bool,
        recorder: PacketTap | None = None,
    ) -> None:
        self._container, self._recorder = container, recorder
        self._stream_index = stream.index
        self._due_times = None if counts_frames else DueTimes()
        self._queue = FrameQueue[ReceivedPacket](
            QUEUED_BYTES,
            size_of=lambda received: received.packet.size,
            discard=Backlog().count_late,
        )
        self._lock = threading.Lock()
        self._is_read = self._is_closed = False
        self._thread = threading.Thread(target=self._read, name="co3d receives", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[ReceivedPacket]:
        seen = 0
        for received in self._queue.take_all():
            dropped = self._queue.dropped_frames
            late_seconds = time.monotonic() - received.due_seconds
            yield replace(
                received, is_late=late_seconds > SKIP_SECONDS, dropped_before=dropped - seen
            )
            seen = dropped

    def close(self) -> None:
        """Stop reading, and close the container as soon as nothing is read from it any more."""
        self._queue.close()
        with self._lock:
            self._is_closed = True
            is_read = self._is_read
        if is_read:
            self._container.close()
        self._thread.join(JOIN_SECONDS)

    def _read(self) -> None:
        """Fill the queue; runs in the thread."""
        failure: Exception | None = None
        try:
            packets = receive_packets(self._container, arrive=True, recorder=self._recorder)
            for received in packets:
                packet = received.packet
                if packet.stream_index == self._stream_index and packet.size:
                    due_seconds = self._judge(received)
                    if not self._queue.put(replace(received, due_seconds=due_seconds)):
                        break
        except Exception as error:  # noqa: BLE001 (raised where packets are taken)
            failure = error
        self._queue.finish(failure)
        with self._lock:
            self._is_read = True
            is_closed = self._is_closed
        if is_closed:
            self._container.close()

    def _judge(self, received: ReceivedPacket) -> float:
        packet, arrival_seconds = received.packet, received.arrival.seconds
        time_stamp = packet.pts if packet.dts is None else packet.dts
        if self._due_times is None or time_stamp is None or packet.time_base is None:
            return arrival_seconds
        return self._due_times.judge(float(time_stamp * packet.time_base), arrival_seconds)


class Backlog:
    """Decides which packets of a live video are not decoded, because they are late."""

    def __init__(self) -> None:
        self._waits_for_key = False

    def count_late(self, waiting: deque[ReceivedPacket]) -> int:
        """How many of the packets that wait, oldest first, are not to be decoded."""
        if not waiting:
            return 0
        now = time.monotonic()
        self._waits_for_key |= now - waiting[0].due_seconds > LONGEST_SECONDS
        if not self._waits_for_key:
            return _count_needless(waiting, now - SKIP_SECONDS)
        for place, received in enumerate(waiting):
            if received.packet.is_keyframe and now - received.due_seconds <= FRESH_SECONDS:
                self._waits_for_key = False
                return place
        return len(waiting)


def _count_needless(waiting: deque[ReceivedPacket], late_seconds: float) -> int:
    """How many key frames come right before another one, and were due before this time."""
    keys = takewhile(lambda received: received.packet.is_keyframe, waiting)
    return sum(received.due_seconds < late_seconds for received, _ in pairwise(keys))
