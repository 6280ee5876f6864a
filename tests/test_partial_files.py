"""What killed processes leave of files that they were writing."""

import os
import subprocess
import sys
import time

import pytest

from co3d import partial_files
from co3d.files import output_file, output_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
WRITE = """
import sys
from pathlib import Path
from co3d.files import output_file, output_folder
with output_file(Path(sys.argv[1])) as file, output_folder(Path(sys.argv[2])) as folder:
    file.write_text("half")
    (folder / "a").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writing(tmp_path):
    """A process that is writing a file and a folder; both look old."""
    command = [sys.executable, "-c", WRITE, tmp_path / "a.json", tmp_path / "b"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline() == b"writing\n"
        for path in tmp_path.iterdir():
            age(path)
        yield process
        process.kill()


def age(path):
    os.utime(path, (time.time() - 60,) * 2)


def write_something(folder):
    partial_files._remove_abandoned.cache_clear()  # as in another process
    with output_file(folder / "c.json") as temporary:
        temporary.write_text("whole")


def test_partial_files_of_running_processes_are_kept(writing, tmp_path):
    write_something(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    writing.communicate(b"")
    assert (tmp_path / "a.json").read_text() == "half"
    assert (tmp_path / "b" / "a").read_text() == "half"


def test_partial_files_of_killed_processes_are_removed(writing, tmp_path):
    token = f"00000000{partial_files._MACHINE}"
    others = [".mine.partial", f".a.{'0' * 12}.partial.json", f".a.{token}.part.mkv"]
    others = [tmp_path / name for name in others]
    for path in others:  # the user's, another machine's, a recording's
        path.touch()
        age(path)
    writing.kill()
    writing.wait()
    write_something(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "c.json"])


def test_links_are_not_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    with output_folder(tmp_path / "b") as folder:
        name = folder.name
    (tmp_path / name).symlink_to(tmp_path / "kept")
    os.utime(tmp_path / name, (0, 0), follow_symlinks=False)
    write_something(tmp_path)
    assert (tmp_path / "kept").is_dir()
