"""The ring of the latest packets, and clips of it."""

from pathlib import Path

import pytest

from co3d.video import read_video
from co3d.video.packet_ring import PacketRing
from support.servers import send, serve


@pytest.fixture(scope="module")
def film(tmp_path_factory, make) -> Path:
    """Forty frames at 20 per second with B frames and a key frame each half second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make(path, 40, options={"bf": "2", "sc_threshold": "0"})


def read_numbers(path: Path, number_of) -> list[int]:
    with read_video(path) as reader:
        return [number_of(frame.image) for frame in reader]


def test_a_clip_begins_at_the_key_frame_before(film, tmp_path, number_of):
    ring = PacketRing(60.0)
    with read_video(film, ring=ring) as reader:
        frames = list(reader)
    assert ring.reaches(frames[-1].pts_seconds)
    assert ring.reaches(100.0)  # nothing follows
    cut = ring.cut(tmp_path / "clip.mkv", 0.7, 1.3)
    numbers = read_numbers(tmp_path / "clip.mkv", number_of)
    assert numbers[0] == 10
    assert numbers[-1] in (26, 27, 28)  # B frames may be left out at the end
    assert cut.find_place(0.7) == pytest.approx(0.2, abs=0.11)


def test_what_is_not_there_is_not_cut(film, tmp_path):
    ring = PacketRing(60.0)
    assert not ring.reaches(0.0)
    assert ring.cut(tmp_path / "clip.mkv", 0.0, 1.0) is None
    with read_video(film, ring=ring) as reader:
        list(reader)
    assert ring.cut(tmp_path / "clip.mkv", -5.0, -4.0) is None
    assert not (tmp_path / "clip.mkv").exists()


@pytest.mark.parametrize(
    ("ring", "first"),
    [(PacketRing(0.6), 10), (PacketRing(60.0, most_bytes=9_000), 30), (PacketRing(60.0), 0)],
)
def test_it_reaches_back_as_far_as_seconds_and_bytes_allow(film, tmp_path, number_of, ring, first):
    with read_video(film, ring=ring) as reader:
        list(reader)
    ring.cut(tmp_path / "clip.mkv", 0.0, 100.0)
    assert read_numbers(tmp_path / "clip.mkv", number_of) == list(range(first, 40))


def test_of_a_live_source_moments_are_those_of_arrival(tmp_path, broadcast, number_of):
    ring = PacketRing(60.0)
    with serve(lambda handler, _: send(handler, broadcast)) as url:
        reader = read_video(url, ring=ring, reconnect_seconds=0, policy="every")
        frames = [next(reader) for _ in range(12)]
        reader.close()
    ring.cut(tmp_path / "clip.mkv", frames[0].received_seconds, frames[-1].received_seconds)
    numbers = read_numbers(tmp_path / "clip.mkv", number_of)
    assert numbers[:12] == [number_of(frame.image) for frame in frames]
