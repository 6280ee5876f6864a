"""The ring of the latest packets, and clips of it."""

from pathlib import Path

import av
import pytest

from co3d.errors import SandboxError
from co3d.video import packet_ring, read_video
from co3d.video.packet_ring import PacketRing
from support.servers import send, serve


@pytest.fixture(scope="module")
def film(tmp_path_factory, make) -> Path:
    """Forty frames at 20 per second with B frames and a key frame each half second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make(path, 40, options={"bf": "2", "sc_threshold": "0"})


def read_packets(path: Path) -> list[tuple[int | None, int | None, bool, bytes]]:
    with av.open(path) as container:
        packets = [one for one in container.demux(video=0) if one.size]
        return [(one.pts, one.dts, one.is_keyframe, bytes(one)) for one in packets]


def read_numbers(path: Path, number_of) -> list[int]:
    with read_video(path) as reader:
        return [number_of(frame.image) for frame in reader]


def test_a_clip_begins_at_the_key_frame_before(sandboxed_or_not, film, tmp_path, number_of):
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


def test_moments_outside_the_ring_give_no_clip(sandboxed_or_not, film, tmp_path):
    ring = PacketRing(60.0)
    assert not ring.reaches(0.0)
    assert ring.cut(tmp_path / "clip.mkv", 0.0, 1.0) is None
    with read_video(film, ring=ring) as reader:
        list(reader)
    assert ring.cut(tmp_path / "clip.mkv", -5.0, -4.0) is None
    assert not (tmp_path / "clip.mkv").exists()


@pytest.mark.parametrize(
    ("options", "first"),
    [({"seconds": 0.6}, 10), ({"seconds": 60.0, "most_bytes": 9_000}, 30), ({"seconds": 60.0}, 0)],
)
def test_the_ring_reaches_back_as_far_as_seconds_and_bytes_allow(
    sandboxed_or_not, film, tmp_path, number_of, options, first
):
    ring = PacketRing(**options)
    with read_video(film, ring=ring) as reader:
        list(reader)
    ring.cut(tmp_path / "clip.mkv", 0.0, 100.0)
    assert read_numbers(tmp_path / "clip.mkv", number_of) == list(range(first, 40))


def test_moments_of_a_live_source_are_arrival_times(
    sandboxed_or_not, tmp_path, broadcast, number_of
):
    ring = PacketRing(60.0)
    with serve(lambda handler, _: send(handler, broadcast)) as url:
        reader = read_video(url, ring=ring, reconnect_seconds=0, policy="every")
        frames = [next(reader) for _ in range(12)]
        reader.close()
    ring.cut(tmp_path / "clip.mkv", frames[0].received_seconds, frames[-1].received_seconds)
    numbers = read_numbers(tmp_path / "clip.mkv", number_of)
    assert numbers[:12] == [number_of(frame.image) for frame in frames]


def test_the_ring_takes_packets_again_after_close(sandboxed_or_not, film, tmp_path, number_of):
    ring = PacketRing(60.0)
    for _ in range(2):
        with read_video(film, ring=ring) as reader:
            list(reader)
    ring.cut(tmp_path / "clip.mkv", 0.0, 100.0)
    assert read_numbers(tmp_path / "clip.mkv", number_of) == list(range(40))


def test_a_clip_of_a_sandbox_is_the_same(film, tmp_path, read_in_children):
    clips = [tmp_path / "here.mkv", tmp_path / "sandbox.mkv"]
    for clip, begin in zip(clips, (lambda: None, read_in_children), strict=True):
        begin()
        ring = PacketRing(60.0)
        with read_video(film, ring=ring) as reader:
            list(reader)
        ring.cut(clip, 0.7, 1.3)
    assert read_packets(clips[0]) == read_packets(clips[1])
    with av.open(clips[0]) as first, av.open(clips[1]) as second:
        assert first.duration == second.duration
        mine, theirs = (one.streams.video[0].codec_context for one in (first, second))
        assert (mine.extradata, mine.name) == (theirs.extradata, theirs.name)


def test_a_sandbox_clip_is_not_parsed_and_limited_in_size(
    film, tmp_path, monkeypatch, read_in_children
):
    read_in_children()
    ring = PacketRing(60.0)
    with read_video(film, ring=ring) as reader:
        list(reader)
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("it is read here"))
    ring.cut(tmp_path / "clip.mkv", 0.7, 1.3)
    monkeypatch.setattr(packet_ring, "MOST_CLIP_BYTES", 1000)
    with pytest.raises(SandboxError, match="returned 0 MiB"):
        ring.cut(tmp_path / "other.mkv", 0.7, 1.3)
    assert not (tmp_path / "other.mkv").exists()


def test_streams_with_start_codes_are_cut(make, tmp_path, number_of):
    film = make(tmp_path / "film.ts", 12)  # start codes, where Matroska has lengths
    ring = PacketRing(60.0)
    with read_video(film, ring=ring) as reader:
        list(reader)
    ring.cut(tmp_path / "clip.mkv", -1.0, 100.0)
    assert read_numbers(tmp_path / "clip.mkv", number_of) == list(range(12))


def test_a_codec_that_matroska_cannot_hold_gives_a_notice_and_is_read(make, tmp_path):
    film = make(tmp_path / "film.flv", 4, codec="flv")
    ring = PacketRing(60.0)
    with read_video(film, ring=ring) as reader:
        assert len(list(reader)) == 4
        assert "gives events no pictures and no clips" in reader.notices[0]
    assert ring.cut(tmp_path / "clip.mkv", -1.0, 100.0) is None
