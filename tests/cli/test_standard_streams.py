"""Standard output that is full or closed, and names that are not UTF-8."""

import io
import json
import sys
from pathlib import Path

import pytest

from co3d.cli.standard_streams import standard_streams
from co3d.datasets.doctor import examine_all
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.manifest_file import read_manifest
from co3d.datasets.prepare import Recipe, copy_video, plan_copies
from co3d.errors import OutputError, SourceNotFoundError
from support.videos import write_video

NAME = "caf\udce9"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device on this system")
@pytest.mark.parametrize("flush", [True, False])
def test_a_full_output_is_a_typed_error(monkeypatch, flush):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with (
            pytest.raises(OutputError, match="standard output: No space left"),
            standard_streams(),
        ):
            print("a result", flush=flush)


def test_a_closed_output_discards_what_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with standard_streams():
        print("a result")
    sys.stdout.close()


def test_other_os_errors_are_not_translated(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    for error in (OSError(28, "No space left on device", "file"), SourceNotFoundError("gone")):
        with pytest.raises(type(error)) as caught, standard_streams():
            raise error
        assert caught.value is error


def test_names_that_are_not_utf8_are_printed_and_read_back(monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, "utf-8"))
    with standard_streams():
        print(json.dumps({"path": NAME}, ensure_ascii=False))
    assert json.loads(data.getvalue()) == {"path": NAME}


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_files_of_such_names_are_examined_copied_and_listed(tmp_path):
    root = tmp_path / f"set-{NAME}"
    root.mkdir()
    write_video(root / "plain.mp4", 4).rename(root / f"{NAME}.mp4")
    entry = VideoEntry(NAME, f"{NAME}.mp4", (0,))
    manifest = Manifest(root, (NAME,), (entry,))
    for _ in range(2):  # the second reads the log of the first
        found = examine_all(manifest, tmp_path / "log.jsonl", 1)
        assert found[entry.path].state == "whole"
    manifest.save(root / "manifest.jsonl")
    assert read_manifest(root / "manifest.jsonl").entries == manifest.entries
    copies = plan_copies(manifest, tmp_path / f"copies-{NAME}", "video")
    target = copies.resolve(copies.entries[0])
    copy_video(root / entry.path, entry, target, Recipe())
    assert target.exists()
