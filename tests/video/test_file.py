import io
import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from co3d.errors import (
    DamagedVideoError,
    EmptyVideoError,
    NotAVideoError,
    NoVideoStreamError,
    SourceNotFoundError,
)
from co3d.video import read_video
from co3d.video.container import open_file
from support.miniature import film_motion, write_mp4


def test_frames_come_whole_in_order_and_with_their_times(video_path, number_of):
    with read_video(video_path) as reader:
        assert (reader.width, reader.height, reader.is_live) == (64, 48, False)
        assert (reader.source_rate_hz, reader.rate_hz) == (20, None)
        assert (reader.frame_count, reader.duration_seconds) == (20, 1)
        frames = list(reader)
        assert (reader.dropped_frames, reader.damage) == (0, None)
    assert [frame.index for frame in frames] == list(range(20))
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([n / 20 for n in range(20)])
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous
    assert repr(frames[3]).startswith("VideoFrame(image=(48, 64, 3) uint8, pts_seconds=0.15")


def test_a_transport_stream_of_ten_packets(tmp_path):
    path = write_mp4(tmp_path / "short.ts", film_motion(1, 2, 5, (32, 16)), times=[1.01, 1.02])
    assert path.stat().st_size == 10 * 188  # FFmpeg cannot detect one this short
    with read_video(path) as reader:
        assert len(list(reader)) == 2


def test_the_test_video_has_b_frames(video_path):
    with av.open(str(video_path)) as container:
        pts = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert pts != sorted(pts)


def test_sampling_goes_by_time_and_keeps_the_index(video_path, number_of, drain):
    frames, _ = drain(read_video(video_path, rate_hz=5))
    assert [frame.index for frame in frames] == [0, 4, 8, 12, 16]
    assert [number_of(frame.image) for frame in frames] == [0, 4, 8, 12, 16]


def test_variable_rate_and_a_start_that_is_not_zero(tmp_path, make, drain):
    times = [2.0, 2.05, 2.1, 2.7, 2.75, 3.5]
    path = make(tmp_path / "variable.mkv", times)
    frames, _ = drain(read_video(path))
    assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=2e-3)
    frames, _ = drain(read_video(path, rate_hz=2))
    assert [frame.index for frame in frames] == [0, 2, 4, 5]


def test_a_slow_file_repeats_its_newest_frame_without_another_conversion(tmp_path, make, drain):
    frames, _ = drain(read_video(make(tmp_path / "slow.mp4", [0, 0.5, 1.0]), rate_hz=6))
    assert [frame.index for frame in frames] == [0, 0, 0, 1, 1, 1, 2]
    assert frames[0] is frames[1]


@pytest.mark.parametrize("name", ["a b ü 漢字.mp4", "10:30.mp4", "%03d.mp4", "-.mp4", "a#?.mp4"])
def test_unusual_file_names_are_opened(tmp_path, make, name, video_path, drain):
    path = tmp_path / name
    path.write_bytes(video_path.read_bytes())
    assert len(drain(read_video(path))[0]) == 20
    assert len(drain(read_video(str(path)))[0]) == 20


def test_elementary_streams_without_timestamps_get_steady_times(tmp_path, make, drain):
    frames, _ = drain(read_video(make(tmp_path / "raw.h264", 10)))
    times = np.array([frame.pts_seconds for frame in frames])
    assert len(times) == 10
    assert np.diff(times) == pytest.approx(np.diff(times)[0])
    assert np.diff(times)[0] > 0


def set_rotation(path: Path, degrees: int) -> None:
    """Overwrite the display matrix of an .mp4 file: a clockwise rotation to be applied."""
    matrix = {
        90: (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000),
        180: (-0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000),
        270: (0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000),
    }[degrees]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize(("degrees", "bright_corner"), [(90, (0, -1)), (180, (-1, -1))])
def test_rotation_metadata_is_applied(tmp_path, degrees, bright_corner):
    path = tmp_path / "turned.mp4"
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255  # top left
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    set_rotation(path, degrees)
    with read_video(path) as reader:
        size = (reader.width, reader.height)
        frame = next(iter(reader))
    assert size == ((48, 64) if degrees == 90 else (64, 48))
    assert frame.image.shape[:2] == size[::-1]
    corners = {(row, col): frame.image[row, col].mean() for row in (0, -1) for col in (0, -1)}
    assert max(corners, key=lambda corner: corners[corner]) == bright_corner


def test_colours_are_rgb(tmp_path, drain):
    path = tmp_path / "red.mp4"
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))
    mean = drain(read_video(path))[0][0].image.mean(axis=(0, 1))
    assert mean == pytest.approx([220, 0, 0], abs=6)


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".flv"])
def test_a_truncated_file_delivers_its_part_and_says_what_is_lost(tmp_path, make, suffix, drain):
    options = {"movflags": "faststart"} if suffix == ".mov" else {}
    whole = make(tmp_path / f"whole{suffix}", 60, noise=True, container_options=options)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    reader = read_video(path)
    frames, error = drain(reader)
    assert isinstance(error, DamagedVideoError)
    assert 20 < len(frames) < 40
    assert f"{len(frames)} frames were delivered" in str(error)
    assert reader.damage is not None
    assert reader.damage.frames_delivered == len(frames)
    assert reader.damage.frames_lost == pytest.approx(60 - len(frames), abs=2)
    assert reader.damage.lost_from_seconds == pytest.approx(len(frames) / 20, abs=0.11)


def test_damage_in_the_middle_does_not_end_the_video(tmp_path, make, drain):
    path = make(tmp_path / "whole.mp4", 60, noise=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 20] = bytes(len(data) // 20)
    path.write_bytes(data)
    reader = read_video(path)
    frames, error = drain(reader)
    assert isinstance(error, DamagedVideoError)
    assert reader.damage is not None
    assert reader.damage.frames_delivered == len(frames)
    assert reader.damage.frames_lost == 60 - len(frames)
    assert 1 <= reader.damage.frames_lost <= 20
    assert 1.0 < reader.damage.lost_from_seconds < 1.8


def test_after_the_error_the_iteration_is_over(tmp_path, make, drain):
    whole = make(tmp_path / "whole.mkv", 30, noise=True)
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    reader = read_video(path)
    frames, error = drain(reader)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert isinstance(error, DamagedVideoError)
    assert drain(reader) == ([], None)


def test_an_mp4_without_its_index_is_no_video(tmp_path, make):
    whole = make(tmp_path / "whole.mp4", 20, noise=True)
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(NotAVideoError, match="complete"):
        read_video(path)


def test_a_file_trimmed_by_an_edit_list_is_whole(tmp_path, drain):
    path = tmp_path / "trimmed.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            image = np.full((48, 64, 3), 10 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number - 6, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, error = drain(read_video(path))
    assert error is None
    assert len(frames) == 14


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".flv", ".ts"])
def test_a_file_that_starts_late_and_has_uneven_times_is_whole(tmp_path, make, suffix, drain):
    times = [1 + number / 100 for number in range(8)]
    frames, error = drain(read_video(make(tmp_path / f"late{suffix}", times)))
    assert (len(frames), error) == (8, None)


def test_missing_file():
    with pytest.raises(SourceNotFoundError, match=r"nowhere\.mp4: no such file"):
        read_video("nowhere.mp4")


@pytest.mark.parametrize("name", ["text.mp4", "text.txt", "text"])
def test_text_is_no_video(tmp_path, name):
    path = tmp_path / name
    path.write_text("some words\n" * 100)
    with pytest.raises(NotAVideoError):
        read_video(path)


def test_a_playlist_does_not_reach_other_places(tmp_path, video_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises((NotAVideoError, EmptyVideoError)):
        read_video(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_among_files_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(NotAVideoError, match="not a regular file"):
        open_file(tmp_path / "pipe.mp4")


def test_sound_alone_has_no_video_stream(tmp_path):
    path = tmp_path / "sound.mka"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = np.zeros((1, 800), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(NoVideoStreamError, match="holds audio but no video"):
        read_video(path)


def test_cover_art_is_not_video(tmp_path):
    cover = io.BytesIO()
    with av.open(cover, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuvj420p")))
        container.mux(stream.encode(None))
    body = b"\0image/jpeg\0\x03\0" + cover.getvalue()
    tag = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
    silence = (b"\xff\xfb\x90\xc4" + bytes(413)) * 20
    path = tmp_path / "song.mp3"
    path.write_bytes(b"ID3\x03\0\0" + size + tag + silence)
    with pytest.raises(NoVideoStreamError, match="audio and cover art but no video"):
        read_video(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_of_zero_frames(tmp_path, suffix):
    path = tmp_path / f"empty{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(EmptyVideoError):
        read_video(path)


def test_a_file_of_zero_bytes(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(EmptyVideoError, match="0 bytes"):
        read_video(tmp_path / "empty.mp4")


def test_a_change_of_size_is_scaled_back(tmp_path, make, drain):
    small = make(tmp_path / "small.ts", 5, size=(64, 48)).read_bytes()
    large = make(tmp_path / "large.ts", 5, size=(128, 96)).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(small + large)
    frames, error = drain(read_video(path))
    assert error is None
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 10
    times = [frame.pts_seconds for frame in frames]
    assert times == sorted(times)


def test_damage_prints_nothing_to_the_terminal(tmp_path, make):
    path = make(tmp_path / "whole.mp4", 20, noise=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = bytes(9000)
    path.write_bytes(data)
    code = (
        "import sys, co3d.video, co3d.errors\n"
        "try: list(co3d.video.read_video(sys.argv[1]))\n"
        "except co3d.errors.DamagedVideoError: sys.exit(3)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")


def test_real_and_awkward_videos(shared_dir, drain):
    table = {  # name: frames, width, height, first time
        "arm_wrestling.mp4": (280, 340, 256, 0.0),
        "flipping_a_pancake.mkv": (310, 426, 240, 0.0),
        "nasa_13013.mp4": (325, 320, 180, 0.0),
        "unordered.mov": (4, 50, 50, 0.0),
        "rotated_90.mov": (3, 320, 568, 0.0),
        "non_zero_start.mp4": (12, 200, 112, 8.333),
        "h265_10bit.mp4": (30, 200, 200, 0.0),
        "odd_size_vp9.mp4": (25, 321, 241, 0.0),
    }
    for name, (count, width, height, first_seconds) in table.items():
        frames, error = drain(read_video(shared_dir / "videos" / name))
        times = [frame.pts_seconds for frame in frames]
        assert error is None, name
        assert len(frames) == count, name
        assert {frame.image.shape for frame in frames} == {(height, width, 3)}, name
        assert times[0] == pytest.approx(first_seconds, abs=1e-3), name
        assert times == sorted(set(times)), name


def test_the_corrupted_video_goes_on_after_its_damage(shared_dir, drain):
    frames, error = drain(read_video(shared_dir / "videos" / "corrupted.mp4"))
    assert len(frames) >= 28
    assert "49 frames were delivered, 1 lost from 3.000 s on" in str(error)
