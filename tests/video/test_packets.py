"""Which packets of a live source are decoded when decoding is slow, measured on a fake clock."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
from av.error import InvalidDataError

from co3d.video import decoder as decoding
from co3d.video import packets as receiving
from co3d.video.clock import NO_ARRIVAL
from co3d.video.decoder import VideoDecoder
from co3d.video.packets import LatestPackets, ReceivedPacket, receive_packets
from co3d.video.skipping import Skipper


class Clock:
    """The time of day; packets are stamped with it as they are read."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    time = monotonic


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(receiving, "time", clock)
    return clock


class Camera:
    """A container that has sent ten packets a second until now, a key frame each `gop` of them."""

    def __init__(self, clock: Clock, packets: int, gop: int) -> None:
        self._clock, self._packets, self._gop = clock, packets, gop
        self.is_closed = False

    def demux(self) -> Iterator[SimpleNamespace]:
        for number in range(self._packets):
            self._clock.seconds = number / 10
            yield SimpleNamespace(
                stream_index=0,
                size=1000,
                pts=number,
                dts=number,
                time_base=Fraction(1, 10),
                is_keyframe=number % self._gop == 0,
            )

    def close(self) -> None:
        self.is_closed = True


def read_late(clock: Clock, late_seconds: float, decode_seconds: float, *, gop: int) -> list[int]:
    """Numbers of the packets that are decoded when the first of 60 is taken `late_seconds` late."""
    camera = Camera(clock, 60, gop)
    queue = LatestPackets(camera, SimpleNamespace(index=0), counts_frames=False)
    queue._thread.join()
    clock.seconds = late_seconds
    taken, dropped = [], 0
    for received in queue:
        dropped += received.dropped_before
        taken.append(received.packet.pts)
        assert taken[-1] == len(taken) - 1 + dropped
        clock.seconds += decode_seconds
    queue.close()
    assert camera.is_closed
    return taken


def test_a_decoder_that_keeps_up_gets_every_packet(clock):
    assert read_late(clock, 0.0, 0.1, gop=20) == list(range(60))


def test_among_key_frames_only_the_latest_are_decoded(clock):
    taken = read_late(clock, 0.0, 0.3, gop=1)
    assert taken[:4] == [0, 1, 4, 7]  # at 0, 0.3, 0.6 and 0.9 s: 0.25 s behind the camera at most


def test_decoding_continues_at_a_key_frame_that_has_just_arrived(clock):
    assert read_late(clock, 2.4, 0.1, gop=20) == list(range(20, 60))


def test_without_a_recent_key_frame_decoding_waits_for_the_next_one(clock):
    assert read_late(clock, 2.6, 0.0, gop=50) == list(range(50, 60))
    assert read_late(clock, 5.6, 0.0, gop=50) == []


def test_a_late_decoder_first_skips_unreferenced_pictures(clock):
    camera = Camera(clock, 10, 10)
    queue = LatestPackets(camera, SimpleNamespace(index=0), counts_frames=False)
    queue._thread.join()
    clock.seconds = 1.05
    assert [received.is_late for received in queue] == [True] * 8 + [False] * 2


def test_the_thread_closes_what_it_still_reads(clock):
    """A silent server blocks nobody."""
    sends = threading.Event()

    class Silent(Camera):
        def demux(self):
            sends.wait()
            yield from super().demux()

    camera = Silent(clock, 1, 1)
    queue = LatestPackets(camera, SimpleNamespace(index=0), counts_frames=False)
    queue._thread.join = lambda timeout: None  # the real join takes a second
    queue.close()
    assert not camera.is_closed
    sends.set()
    threading.Thread.join(queue._thread)
    assert camera.is_closed


def test_what_breaks_the_container_is_raised_after_its_packets(clock):
    class Broken(Camera):
        def demux(self):
            yield from super().demux()
            raise InvalidDataError(1, "broken")

    queue = LatestPackets(Broken(clock, 3, 1), SimpleNamespace(index=0), counts_frames=False)
    taken: list[int] = []
    with pytest.raises(InvalidDataError):
        taken.extend(received.packet.pts for received in queue)
    assert taken == [0, 1, 2]


def test_unreferenced_pictures_are_skipped_and_counted(video_path):
    with av.open(str(video_path)) as container:
        context = container.streams.video[0].codec_context
        skipper, left_out, delivered = Skipper(context), 0, []
        for received in receive_packets(container, arrive=True):
            if received.packet.size:
                late = ReceivedPacket(received.packet, NO_ARRIVAL, None, 0.0, is_late=True)
                skipper.prepare(late)
            for frame in context.decode(received.packet if received.packet.size else None):
                left_out += skipper.count(frame.pts)
                delivered.append(frame)
        left_out += skipper.count_rest()
    assert len(delivered) < 20
    assert len(delivered) + left_out == 20


def test_frames_after_a_drop_have_their_own_index_and_time(tmp_path, make, monkeypatch, number_of):
    """Key frames are 0 and 10; the packets between 3 and 10 are dropped."""
    path = make(tmp_path / "live.ts", 20, options={"bf": "0"})

    class Dropping:
        def __init__(self, container, stream, *, counts_frames, recorder, on_wait):
            self._packets = receive_packets(container, arrive=True)
            self.close = container.close

        def __iter__(self):
            packets = [received for received in self._packets if received.packet.size]
            yield from packets[:4]
            first, *others = packets[10:]
            yield ReceivedPacket(first.packet, first.arrival, 5.0, 0.0, dropped_before=6)
            yield from others

    monkeypatch.setattr(decoding, "LatestPackets", Dropping)
    monkeypatch.setattr(decoding, "_duration_seconds", lambda container: None)  # like a camera
    live = VideoDecoder(av.open(str(path)), "live", resumable=True, drops_late=True)
    frames = list(live.frames())
    live.close()
    expected = [*range(4), *range(10, 20)]
    assert [number_of(frame.frame.to_ndarray(format="rgb24")) for frame in frames] == expected
    assert [frame.index for frame in frames] == expected
    first_seconds = frames[0].pts_seconds
    times = [frame.pts_seconds - first_seconds for frame in frames]
    assert times == pytest.approx([number / 20 for number in expected])
    assert live.dropped_frames == 6
