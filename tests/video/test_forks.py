"""A process that was forked while videos were open neither hangs nor dies."""

import subprocess
import sys

import pytest

from support.miniature import film_motion, write_mp4

FORK = """
import gc, multiprocessing, sys, warnings
from pathlib import Path
import torch
from torch.utils.data import DataLoader
import co3d.datasets.clips as clips_module
from co3d.datasets.clips import VideoClips, collate_clips
from co3d.video.indexed_opening import open_indexed_video
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.models.registry import get_card

warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
path = Path(sys.argv[1])

class Cycle:
    pass

gc.disable()
for _ in range(20):  # garbage with threads, which only the collector can free
    cycle = Cycle()
    cycle.itself, cycle.source = cycle, open_indexed_video(path, threads=4)
    cycle.frames = cycle.source.read([0, 5])
del cycle
entries = tuple(VideoEntry(str(n), path.name, (0,)) for n in range(8))
clips = VideoClips(Manifest(path.parent, ("run",), entries), get_card("camera_motion"))
clips[3]  # the parent's file stays open, with four threads
loader = DataLoader(clips, 2, num_workers=2, collate_fn=collate_clips,
                    multiprocessing_context="fork", worker_init_fn=lambda _: gc.collect())
print(sum(len(batch["clip"]) for batch in loader))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_workers_forked_beside_open_videos(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", film_motion(1, 32, 1))
    command = [sys.executable, "-c", FORK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "8", done.stderr
