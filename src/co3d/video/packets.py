"""Packets of an open container: all of them, or of a live source the latest that can be decoded."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
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

WaitListener = Callable[[float], None]
JOIN_SECONDS = 1.0
"""`close` waits this long for the reading thread. A thread that waits for a silent server is left
behind, and ends when its read times out."""

QUEUED_BYTES = 64 * 2**20
"""Once this many bytes are queued, reading pauses, because a source may send a whole recording at
once."""

SKIP_SECONDS = 0.25
"""A packet that is this late makes the decoder skip pictures that no other picture refers to."""

LONGEST_SECONDS = 2.0
"""A packet that is this late makes decoding skip to the next key frame. Skipping earlier would cut
the video into pieces too short to fill a network's window."""

FRESH_SECONDS = 0.5
"""A key frame that has already arrived is skipped to if it is at most this late."""


@dataclass(frozen=True)
class ReceivedPacket:
    """A packet and when it came.

    Attributes:
        packet: of any stream of the container.
        arrival: on a steady clock.
        received_seconds: Unix time; None for files.
        due_seconds: when it should be decoded, on the steady clock; see `DueTimes`.
        is_late: whether the decoder is behind, so that it should skip pictures that no other
            picture refers to.
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
    """Packets of all streams; `arrival` is set for remote sources only.

    The recorder gets them all, as they arrive.

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
        counts_frames: whether timestamps are made up, so that a packet is due when it arrives.
        recorder: gets all packets, also those that are dropped.
        on_wait: see `FrameQueue.take_all`.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        counts_frames: bool,
        recorder: PacketTap | None = None,
        on_wait: WaitListener | None = None,
    ) -> None:
        self._on_wait = on_wait or (lambda _: None)
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
        for received in self._queue.take_all(self._on_wait):
            dropped = self._queue.dropped_frames
            late_seconds = time.monotonic() - received.due_seconds
            yield replace(
                received, is_late=late_seconds > SKIP_SECONDS, dropped_before=dropped - seen
            )
            seen = dropped

    def close(self) -> None:
        """Stop reading, and close the container as soon as the thread has left it."""
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
        return self._due_times.find_due_time(float(time_stamp * packet.time_base), arrival_seconds)


class Backlog:
    """Decides which packets of a live video are not decoded, because they are late."""

    def __init__(self) -> None:
        self._waits_for_key = False

    def count_late(self, waiting: deque[ReceivedPacket]) -> int:
        """How many of the oldest waiting packets to drop without decoding them."""
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
    """How many leading key frames precede another key frame and were due before this time."""
    keys = takewhile(lambda received: received.packet.is_keyframe, waiting)
    return sum(received.due_seconds < late_seconds for received, _ in pairwise(keys))
