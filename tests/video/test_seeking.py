"""Reading by seeking gives what playing from the start gives, frame by frame."""

import contextlib
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from co3d.errors import DamagedVideoError, EmptyVideoError, NotAVideoError
from co3d.video import read_video
from co3d.video.indexed import PictureFolder, PlayedVideo
from co3d.video.indexed_opening import open_indexed_video
from co3d.video.seeking import SeekableVideo
from support.miniature import film_motion, make_kinetics, set_rotation, write_mp4, write_pictures

DECODABLE = [
    "arm_wrestling.mp4",
    "flipping_a_pancake.mkv",
    "h265_10bit.mp4",
    "nasa_13013.mp4",
    "non_zero_start.mp4",
    "odd_size_vp9.mp4",
    "rotated_90.mov",
    "unordered.mov",
]


def play(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    with read_video(path) as reader:
        frames = list(reader)
    return [frame.image for frame in frames], np.array([frame.pts_seconds for frame in frames])


def check_against_playing(path: Path, backwards_step: int = 1) -> None:
    images, times = play(path)
    source = open_indexed_video(path, threads=1)
    try:
        np.testing.assert_allclose(source.times_seconds, times, atol=1e-9)
        for index in range(len(images) - 1, -1, -backwards_step):
            np.testing.assert_array_equal(source.read([index])[0], images[index], str(index))
        whole = source.read(range(len(images)))
        assert all(map(np.array_equal, whole, images))
    finally:
        source.close()


def test_the_list_of_videos_is_complete(shared_dir):
    there = {path.name for path in (shared_dir / "videos").iterdir()}
    assert there == {*DECODABLE, "corrupted.mp4", "README.md"}


@pytest.mark.parametrize("name", DECODABLE)
def test_real_videos(shared_dir, name):
    long = name in DECODABLE[:2] or name == "nasa_13013.mp4"
    check_against_playing(shared_dir / "videos" / name, backwards_step=13 if long else 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODABLE)
def test_every_frame_of_real_videos(shared_dir, name):
    check_against_playing(shared_dir / "videos" / name)


def test_damage_fails_only_the_clips_that_touch_it(shared_dir):
    path = shared_dir / "videos" / "corrupted.mp4"
    delivered = {}
    reader = read_video(path)
    with contextlib.suppress(DamagedVideoError):
        for frame in reader:
            delivered[round(frame.pts_seconds, 6)] = frame.image
    assert reader.damage is not None
    source = open_indexed_video(path, threads=1)
    refused = []
    for index, seconds in enumerate(source.times_seconds):
        try:
            image = source.read([index])[0]
        except DamagedVideoError:
            refused.append(float(seconds))
        else:
            np.testing.assert_array_equal(image, delivered[round(float(seconds), 6)])
    source.close()
    assert refused
    missing = {round(float(s), 6) for s in source.times_seconds} - delivered.keys()
    assert missing <= {round(seconds, 6) for seconds in refused}
    assert len(refused) < len(source.times_seconds) / 2


def test_all_readable_kinds_of_miniature_equal_playing(tmp_path):
    made = make_kinetics(tmp_path, classes=["roll clockwise"])
    paths = [path for path in (tmp_path / "val").rglob("*.mp4") if path.stem in made.readable]
    assert len(paths) == 7
    for path in paths:
        check_against_playing(path, backwards_step=5)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    gaps=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    gop_frames=st.integers(1, 50),
    start=st.integers(0, 5),
    turned=st.booleans(),
    suffix=st.sampled_from([".mp4", ".mkv", ".mov", ".ts"]),
    data=st.data(),
)
def test_random_times_and_groups_of_pictures_equal_playing(
    tmp_path_factory, gaps, gop_frames, start, turned, suffix, data
):
    path = tmp_path_factory.mktemp("drawn") / f"drawn{suffix}"
    times = start + np.cumsum(gaps) / 100
    write_mp4(path, film_motion(1, len(times), 5, (32, 16)), times=times.tolist(),
              gop_frames=gop_frames)  # fmt: skip
    if turned and suffix in (".mp4", ".mov"):
        set_rotation(path)
    images, _ = play(path)
    source = open_indexed_video(path, threads=1)
    for _ in range(4):
        picked = sorted(data.draw(st.lists(st.integers(0, len(images) - 1), min_size=1)))
        np.testing.assert_array_equal(source.read(picked), [images[index] for index in picked])
    source.close()


@pytest.mark.parametrize("codec", ["mpeg4", "libvpx", "mjpeg"])
def test_other_codecs(tmp_path, codec):
    path = tmp_path / "other.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = 32, 16
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in film_motion(2, 30, 1, (32, 16)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    check_against_playing(path)


def test_without_timestamps_the_video_is_played(tmp_path):
    path = write_mp4(tmp_path / "raw.h264", film_motion(1, 20, 1))
    assert isinstance(open_indexed_video(path), PlayedVideo)
    check_against_playing(path, backwards_step=4)


def count_continuously(stream: bytes) -> bytes:
    """Renumber a transport stream's packets, else the joint counts as damage."""
    data, counters = bytearray(stream), {}
    for start in range(0, len(data), 188):
        pid = int.from_bytes(data[start + 1 : start + 3]) & 0x1FFF
        if data[start + 3] & 0x10:  # it has a payload
            counters[pid] = (counters.get(pid, -1) + 1) % 16
        data[start + 3] = data[start + 3] & 0xF0 | counters.get(pid, 0)
    return bytes(data)


def test_a_video_whose_clock_is_reset_is_played(tmp_path):
    parts = [write_mp4(tmp_path / f"{n}.ts", film_motion(n, 20, n)).read_bytes() for n in (1, 2)]
    path = tmp_path / "joined.ts"
    path.write_bytes(count_continuously(b"".join(parts)))
    source = open_indexed_video(path)
    assert isinstance(source, PlayedVideo)
    assert len(source.times_seconds) == len(play(path)[0])


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_a_file_without_its_end_is_refused(tmp_path, suffix):
    path = write_mp4(tmp_path / f"whole{suffix}", film_motion(1, 96, 1))
    if suffix == ".mov":
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / "fast.mov"), "w", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "fast.mov"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedVideoError, match="damaged"):
        open_indexed_video(path)


def test_a_long_group_of_pictures_is_decoded_once_for_clips_in_order(tmp_path, monkeypatch):
    path = write_mp4(tmp_path / "long.mp4", film_motion(1, 60, 1), gop_frames=1000)
    source = SeekableVideo(path, threads=1)
    decoded = []
    real = SeekableVideo._decode

    def count(self):
        for frame in real(self):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(SeekableVideo, "_decode", count)
    for start in range(0, 60, 6):
        source.read(range(start, start + 6))
    source.close()
    assert len(decoded) == 60


def test_folders_of_pictures(tmp_path):
    folder = write_pictures(tmp_path / "frames", film_motion(1, 12, 1), "f{}.png")
    source = open_indexed_video(folder, rate_hz=24.0)
    assert isinstance(source, PictureFolder)
    np.testing.assert_array_equal(source.times_seconds, np.arange(12) / 24)
    images, _ = play(folder)
    np.testing.assert_array_equal(source.read([0, 0, 9, 11]), [images[i] for i in (0, 0, 9, 11)])
    (folder / "f3.png").write_bytes(b"no picture")
    with pytest.raises(DamagedVideoError, match=r"f3\.png is damaged"):
        source.read([1, 2])
    write_pictures(folder, film_motion(1, 1, 1, (20, 10)), "f{}.png")
    with pytest.raises(NotAVideoError, match="20x10"):
        source.read([0, 5])
    source.close()


def test_an_empty_folder(tmp_path):
    with pytest.raises(EmptyVideoError):
        open_indexed_video(tmp_path)
