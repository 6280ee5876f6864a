"""What readers and writers leave behind when they are closed, or dropped: nothing, and at once."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from co3d.video import VideoWriter, read_video
from co3d.video.indexed_opening import open_indexed_video


def play(path: Path) -> None:
    with read_video(path, rate_hz=8) as reader:
        for _ in reader:
            pass


def read_clips(path: Path) -> None:
    video = open_indexed_video(path)
    video.read([0, 2])
    video.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(3):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("use", [play, read_clips])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_no_frame_waits_for_a_garbage_collection(video_path, folder, use, kind):
    path = video_path if kind == "file" else folder
    use(path)  # imports and caches
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            use(path)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_writer_that_is_dropped_leaves_nothing(tmp_path, picture):
    threads = threading.active_count()
    for _ in range(3):
        writer = VideoWriter(tmp_path / "a.mp4", 20)
        writer.write(picture(0), 0.0)
        del writer
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads
