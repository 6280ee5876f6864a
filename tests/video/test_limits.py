"""Small files that claim huge pictures and long times are refused."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from co3d.errors import Co3dError, OptionError, VideoLimitError
from co3d.video import VideoLimits, read_video
from co3d.video.indexed_opening import open_indexed_video

SIDE = 16_000
NEEDED_BYTES = 100 * 2**20


def write_gif(path: Path) -> Path:
    """Two frames of one pixel on a canvas of 16 000 x 16 000."""
    head = b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    path.write_bytes(head + 2 * frame + b";")
    return path


def write_png(path: Path) -> Path:
    """The head of a picture of 16 000 x 16 000 and none of its rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, 6, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(64))))
    return path


def address_space_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def read_all(path: Path, **options) -> int:
    with read_video(path, **options) as reader:
        return sum(1 for _ in reader)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measured on Linux")
@pytest.mark.parametrize("write", [write_gif, write_png])
def test_a_claimed_size_allocates_no_memory(tmp_path, write):
    folder = tmp_path / "pictures"
    folder.mkdir()
    file = write(folder / "1.png" if write is write_png else tmp_path / "1.gif")
    before = address_space_bytes()
    for path in (file, folder) if write is write_png else (file,):
        with pytest.raises(Co3dError):
            read_all(path)
        with pytest.raises(Co3dError):
            open_indexed_video(path).read([0])
    assert address_space_bytes() - before < NEEDED_BYTES


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_pictures_over_the_pixel_limit_are_refused(tmp_path, make, suffix):
    path = make(tmp_path / f"a{suffix}", 3)
    assert read_all(path, limits=VideoLimits(pixels=64 * 48)) == 3
    with pytest.raises(VideoLimitError, match="64x48, at most 3071"):
        read_video(path, limits=VideoLimits(pixels=64 * 48 - 1))
    with pytest.raises(VideoLimitError, match="64x48"):
        open_indexed_video(path, limits=VideoLimits(pixels=64 * 48 - 1))


def test_a_size_that_grows_in_the_middle_is_not_decoded(tmp_path, make, drain):
    small = make(tmp_path / "small.ts", 5, size=(64, 48)).read_bytes()
    large = make(tmp_path / "large.ts", 5, size=(128, 96)).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(small + large)
    frames, error = drain(read_video(path, limits=VideoLimits(pixels=64 * 48)))
    assert len(frames) < 6
    assert isinstance(error, VideoLimitError)


def test_a_video_of_8k_is_within_the_limits():
    VideoLimits().check_picture(7680, 4320, "film")
    VideoLimits().check_picture(8192, 4320, "film")
    VideoLimits().check_frames(24 * 3600 * 60, "a day")


def test_videos_over_the_frame_limit_are_refused(tmp_path, make, drain):
    path = make(tmp_path / "a.mp4", 20)
    frames, error = drain(read_video(path, limits=VideoLimits(frames=19)))
    assert len(frames) == 19
    assert isinstance(error, VideoLimitError)
    assert read_all(path, limits=VideoLimits(frames=20)) == 20
    with pytest.raises(VideoLimitError, match="more than 19 frames"):
        open_indexed_video(path, limits=VideoLimits(frames=19))


def test_repeats_of_pictures_far_apart_are_limited(tmp_path, make, drain):
    path = make(tmp_path / "a.mkv", [0.0, 50.0, 100.0, 150.0])
    limits = VideoLimits(held_seconds=60)
    frames, error = drain(read_video(path, rate_hz=4, limits=limits))
    assert isinstance(error, VideoLimitError)
    # Each picture is free for a second; two of them are held for 49 and 11 seconds more.
    assert len(frames) == 4 * 60 + 2 * 5
    assert read_all(path, limits=limits) == 4


def test_slow_videos_do_not_reach_the_repeat_limit(tmp_path, make, drain):
    path = make(tmp_path / "a.mkv", [float(second) for second in range(20)])
    frames, error = drain(read_video(path, rate_hz=30, limits=VideoLimits(held_seconds=0.01)))
    assert (len(frames), error) == (19 * 30 + 1, None)


def test_the_limits_hold_for_a_folder_of_pictures(tmp_path):
    for number in range(3):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / f"{number}.png")
    size = (tmp_path / "0.png").stat().st_size
    assert read_all(tmp_path, limits=VideoLimits(64 * 48, 3, picture_bytes=size)) == 3
    for limits in (VideoLimits(frames=2), VideoLimits(picture_bytes=size - 1)):
        with pytest.raises(VideoLimitError):
            read_video(tmp_path, limits=limits)
        with pytest.raises(VideoLimitError):
            open_indexed_video(tmp_path, limits=limits).read([0])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_among_pictures_is_passed_over(tmp_path):
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "2.png")
    os.mkfifo(tmp_path / "1.png")
    assert read_all(tmp_path) == 1


@pytest.mark.parametrize("name", ["pixels", "frames", "held_seconds", "picture_bytes"])
def test_limits_are_above_zero(name):
    with pytest.raises(OptionError, match=f"{name}=0"):
        VideoLimits(**{name: 0})
