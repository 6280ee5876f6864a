"""An archive on a Ray cluster of two nodes has the rows of a single process despite kills."""

import json
import subprocess
from pathlib import Path

import pytest

import support
from co3d import convert, export_program
from co3d.fleet import label_archive
from support.environments import find_environment
from support.videos import write_video

pytestmark = pytest.mark.slow

SCRIPT = Path(support.__file__).parent / "ray_archive.py"
VIDEOS, KILLS, PATIENCE_SECONDS = 40, 20, 3600


@pytest.fixture(scope="module")
def archive(network, tmp_path_factory):
    """Videos, a network in a file, and the rows that a single process makes."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "videos").mkdir()
    whole = write_video(folder / "videos" / "0.mp4", 96)
    for number in range(1, VIDEOS):
        (folder / "videos" / f"{number}.mp4").write_bytes(whole.read_bytes())
    (folder / "videos" / "none.mp4").write_bytes(b"no video")
    program = convert(network, network.card.clip_shape, edges="both")
    path = folder / "small.safetensors"
    export_program(program, path, format="torch", card=network.card)
    label_archive([folder / "videos"], folder / "expected", model=str(path), backend="torch")
    return folder


@pytest.mark.parametrize("kind", ["worker", "node"])
def test_no_video_is_lost_or_doubled(archive, kind):
    python = find_environment("ray") / "bin" / "python"
    arguments = [archive / "small.safetensors", archive / "videos", archive / kind, kind, KILLS]
    ran = subprocess.run(
        [python, SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    expected = {path.name: path for path in (archive / "expected").glob("*.parquet")}
    assert len(expected) == VIDEOS
    for folder, report in json.loads(ran.stdout).items():
        assert (report["videos"], list(report["bad"])) == (VIDEOS + 1, ["none.mp4"])
        assert report["labelled"] + report["resumed"] == VIDEOS
        parts = {path.name: path for path in Path(folder).glob("[!.]*.parquet")}
        assert parts.keys() == expected.keys()
        for name, path in parts.items():
            assert path.read_bytes() == expected[name].read_bytes()
