"""Readers and writers free all memory at once when they are closed or dropped."""

import ctypes
import gc
import os
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from co3d.video import VideoWriter, read_video
from co3d.video.garbage import _Collector
from co3d.video.indexed_opening import open_indexed_video

BLOCKS, BLOCK_BYTES = 1000, 60_000
"""Smaller than the blocks that glibc requests from the system one by one."""


def read_resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def play(path: Path) -> None:
    with read_video(path, rate_hz=8) as reader:
        for _ in reader:
            pass


def read_clips(path: Path) -> None:
    video = open_indexed_video(path)
    video.read([0, 2])
    video.close()


def abandon(path: Path) -> None:
    """Read one frame, and drop the reader unclosed."""
    next(iter(read_video(path)))


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(3):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("use", [play, read_clips, abandon])
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


def _read_resident_bytes() -> int:
    ctypes.CDLL(None).malloc_trim(0)  # free but fragmented memory is no leak
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measured on Linux")
@pytest.mark.parametrize("use", [play, abandon])
def test_hundreds_of_readers_do_not_grow_memory(video_path, use):
    for _ in range(100):
        use(video_path)
    before = _read_resident_bytes()
    for _ in range(500):
        use(video_path)
    assert _read_resident_bytes() - before < 8 << 20


def test_a_writer_that_is_dropped_leaves_nothing(tmp_path, picture):
    threads = threading.active_count()
    for _ in range(3):
        writer = VideoWriter(tmp_path / "a.mp4", 20)
        writer.write(picture(0), 0.0)
        del writer
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="it is glibc's")
def test_memory_that_connections_have_freed_goes_back_to_the_system():
    allocate = ctypes.CDLL(None).malloc
    allocate.restype, free = ctypes.c_void_p, ctypes.CDLL(None).free
    blocks = [ctypes.c_void_p(allocate(BLOCK_BYTES)) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    # This block lies above those that will be freed, so that the heap cannot shrink.
    kept = [ctypes.c_void_p(allocate(BLOCK_BYTES))]
    for block in blocks:
        free(block)
    before = read_resident_bytes()
    _Collector().collect()
    assert read_resident_bytes() < before - BLOCK_BYTES * BLOCKS / 2
    free(kept.pop())
