import itertools
import stat
import subprocess
import sys

import av
import numpy as np
import pytest

from co3d.errors import InputShapeError, OptionError, OutputError
from co3d.video import VideoWriter, read_video

FILL_A_DISK = """
import resource, signal, sys
import numpy as np
from co3d.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))
random = np.random.default_rng(0)
with VideoWriter(sys.argv[1], 20, {options}) as writer:
    for number in range(60):
        writer.write(random.integers(0, 255, (96, 128, 3), np.uint8), number / 8)
"""

KILL_ITSELF = """
import os, signal, sys
import numpy as np
from co3d.video import VideoWriter
random = np.random.default_rng(0)
writer = VideoWriter(sys.argv[1], 20)
for number in range(100):
    writer.write(random.integers(0, 255, (96, 128, 3), np.uint8), number / 8)
os.kill(os.getpid(), signal.SIGKILL)
"""


def read_back(path):
    with read_video(path) as reader:
        return list(reader)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".MP4"])
def test_what_is_written_is_read(tmp_path, picture, number_of, suffix):
    path = tmp_path / f"out ü{suffix}"
    times = [8.3, 8.35, 8.5, 9.4, 9.45]
    with VideoWriter(path, 20) as writer:
        for number, seconds in enumerate(times):
            writer.write(picture(number), seconds)
        assert not path.exists()
        assert writer.frames_written == 5
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    frames = read_back(path)
    assert [number_of(frame.image) for frame in frames] == list(range(5))
    expected = [seconds - 8.3 for seconds in times]
    assert [frame.pts_seconds for frame in frames] == pytest.approx(expected, abs=2e-3)


def test_the_codec_is_one_that_every_player_knows(tmp_path, picture):
    with VideoWriter(tmp_path / "out.mp4", 20) as writer:
        writer.write(picture(0), 0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize(("size", "written"), [((63, 47), (64, 48)), ((1, 1), (2, 2))])
def test_odd_sizes_get_one_more_pixel(tmp_path, picture, size, written):
    with VideoWriter(tmp_path / "out.mp4", 20) as writer:
        writer.write(picture(30, size), 0)
    image = read_back(tmp_path / "out.mp4")[0].image
    assert (image.shape[1], image.shape[0]) == written
    assert np.abs(image.astype(int) - 130).max() <= 3


def test_times_that_repeat_or_fall_follow_at_once(tmp_path, picture, number_of):
    with VideoWriter(tmp_path / "out.mp4", 20) as writer:
        for number, seconds in enumerate([1.0, 1.0, 0.5, 1.1]):
            writer.write(picture(number), seconds)
    frames = read_back(tmp_path / "out.mp4")
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3]
    assert all(b.pts_seconds > a.pts_seconds for a, b in itertools.pairwise(frames))
    assert frames[-1].pts_seconds == pytest.approx(0.1, abs=1e-3)


def test_an_error_leaves_the_existing_file(tmp_path, picture):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")

    def fail():
        with VideoWriter(path, 20) as writer:
            writer.write(picture(0), 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_no_picture_lasts_longer_than_an_hour_and_a_half(tmp_path, picture, suffix):
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 20) as writer:
        for number, seconds in enumerate([5.0, 6.0, 3606.0, 1e7, 1e8, 1e9, 1e9 + 1]):
            writer.write(picture(number), seconds)
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 1, 3601, 9001, 14_401, 19_801, 19_802], abs=2e-3)


def test_an_interrupt_keeps_a_playable_file(tmp_path, picture):
    def interrupt():
        with VideoWriter(tmp_path / "out.mp4", 20) as writer:
            writer.write(picture(0), 0)
            writer.write(picture(1), 0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(read_back(tmp_path / "out.mp4")) == 2


def test_close_replaces_and_may_be_called_twice(tmp_path, picture):
    path = tmp_path / "out.mkv"
    path.write_bytes(b"old")
    writer = VideoWriter(path, 20)
    writer.write(picture(0), 0)
    writer.close()
    writer.close()
    writer.abort()
    assert len(read_back(path)) == 1
    with pytest.raises(OutputError, match="closed"):
        writer.write(picture(0), 1)


def test_abort_removes_everything(tmp_path, picture):
    writer = VideoWriter(tmp_path / "out.mp4", 20)
    writer.write(picture(0), 0)
    writer.abort()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_without_pictures_no_file_is_left(tmp_path):
    VideoWriter(tmp_path / "out.mp4", 20).close()
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_ordinary_permissions(tmp_path, picture):
    (tmp_path / "plain").touch()
    with VideoWriter(tmp_path / "out.mp4", 20) as writer:
        writer.write(picture(0), 0)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "out.mp4")}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["out.gif", "out", "out.txt"])
def test_an_unknown_suffix(tmp_path, name):
    with pytest.raises(OutputError, match=r"expected \.mp4"):
        VideoWriter(tmp_path / name, 20)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", 20)
    with pytest.raises(OutputError, match="folder that exists"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", 20)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder that exists"):
        VideoWriter(tmp_path / "file" / "out.mp4", 20)


def test_pictures_that_cannot_be_written(tmp_path, picture):
    with VideoWriter(tmp_path / "out.mp4", 20) as writer:
        with pytest.raises(InputShapeError, match="float64"):
            writer.write(np.zeros((48, 64, 3)), 0)
        with pytest.raises(InputShapeError, match=r"\(48, 64\)"):
            writer.write(np.zeros((48, 64), np.uint8), 0)
        writer.write(picture(0), 0)
        with pytest.raises(InputShapeError, match="like the first"):
            writer.write(picture(0, (32, 32)), 1)
        with pytest.raises(OptionError, match="nan"):
            writer.write(picture(0), float("nan"))
    assert len(read_back(tmp_path / "out.mp4")) == 1


@pytest.mark.parametrize("rate_hz", [0, -1, float("inf"), float("nan")])
def test_rates_that_cannot_work(tmp_path, rate_hz):
    with pytest.raises(OptionError, match="above 0"):
        VideoWriter(tmp_path / "out.mp4", rate_hz)


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are a Unix feature")
@pytest.mark.parametrize(
    ("limit_bytes", "options"), [(4_000, ""), (60_000, ""), (10, "keeps_unfinished=True")]
)
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, limit_bytes, options):
    code = FILL_A_DISK.format(limit_bytes=limit_bytes, options=options)
    command = [sys.executable, "-c", code, str(tmp_path / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("co3d.errors.OutputError: cannot write")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are a Unix feature")
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_full_disk_keeps_the_playable_part(tmp_path, drain, suffix):
    code = FILL_A_DISK.format(limit_bytes=300_000, options="keeps_unfinished=True")
    path = tmp_path / f"out{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("it holds what was written before")
    assert list(tmp_path.iterdir()) == [path]
    frames, _ = drain(read_video(path))
    assert 10 < len(frames) < 60


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a Unix signal")
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_crash_leaves_a_file_that_plays(tmp_path, drain, suffix):
    code = KILL_ITSELF
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / f"out{suffix}")], timeout=60, check=False
    )
    (partial,) = tmp_path.iterdir()
    assert partial.name.endswith(".part")
    frames, _ = drain(read_video(partial))
    assert len(frames) > 60  # of 100; the last seconds are lost


def test_the_target_of_a_link_is_replaced_and_keeps_its_permissions(tmp_path, picture):
    target, link = tmp_path / "real" / "out.mp4", tmp_path / "link.mp4"
    target.parent.mkdir()
    link.symlink_to(target)
    target.touch(0o600)
    with VideoWriter(link, 20) as writer:
        (partial,) = target.parent.glob(".*")
        assert partial.stat().st_mode & 0o777 == 0o600
        writer.write(picture(0), 0)
    assert link.is_symlink()
    assert target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600
