import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from co3d.datasets.doctor import diagnose, examine, examine_all
from co3d.datasets.doctor import rounds as rounds_module
from co3d.datasets.layouts import open_dataset
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import OutputError
from co3d.models.camera_motion import CAMERA_MOTIONS
from support.miniature import (
    film_motion,
    make_kinetics,
    write_mp4,
    write_pictures,
)

STATES = {"broken": "unreadable", "empty": "zero-frame", "missing": "missing"}


@pytest.fixture
def made(tmp_path):
    return make_kinetics(tmp_path / "set", classes=["pan left", "tilt up"])


def test_every_kind_of_file_is_recognised(made):
    manifest = open_dataset(made.root, classes=CAMERA_MOTIONS)
    for entry in manifest.entries:
        seen = examine(manifest.resolve(entry))
        kind = made.kinds[entry.video_id]
        assert seen.state == STATES.get(kind, "whole"), kind
        if seen.state == "whole":
            assert seen.frames == made.frames[entry.video_id]
            assert (seen.width, seen.height) == (96, 64)
            assert seen.is_variable == (kind == "variable")
            assert seen.seconds == pytest.approx(seen.frames / 16, abs=0.06)
        else:
            assert seen.reason


def test_real_damage(shared_dir):
    seen = examine(shared_dir / "videos" / "corrupted.mp4")
    assert (seen.state, seen.frames) == ("truncated", 49)
    assert "frames were delivered" in seen.reason
    assert examine(shared_dir / "videos" / "README.md").state == "unreadable"


def test_content_is_that_of_the_pictures_not_of_the_container(tmp_path):
    frames = film_motion(1, 12, 1)
    first = examine(write_mp4(tmp_path / "a.mp4", frames))
    assert examine(write_mp4(tmp_path / "b.mkv", frames, sound=True)).content == first.content
    assert examine(write_mp4(tmp_path / "c.mp4", film_motion(1, 12, 2))).content != first.content
    assert examine(write_mp4(tmp_path / "d.mp4", frames[:-1])).content != first.content


def test_folders_of_frames(tmp_path):
    folder = write_pictures(tmp_path / "a", film_motion(1, 6, 1))
    seen = examine(folder, 12.0)
    assert (seen.state, seen.frames, seen.seconds, seen.rate_hz) == ("whole", 6, 0.5, 12.0)
    assert examine(folder).seconds is None
    (folder / "000003.jpg").write_bytes(b"x")
    assert examine(folder).state == "truncated"
    write_pictures(folder, film_motion(1, 1, 1, (20, 10)))
    assert examine(folder).state == "unreadable"
    for path in folder.iterdir():
        path.unlink()
    assert examine(folder).state == "zero-frame"


def sick_set(root: Path) -> Manifest:
    """Two classes; copies under one label and under two, and a file in the wrong folder."""
    for number, name in enumerate(("pan left/a", "pan left/b", "pan left/twice", "tilt up/c")):
        write_mp4(root / f"{name}.mp4", film_motion(1, 12, number))
    shutil.copy(root / "pan left/twice.mp4", root / "pan left/twice again.mp4")
    shutil.copy(root / "tilt up/c.mp4", root / "pan left/c too.mp4")
    listed = ("pan left/a", "pan left/b", "pan left/twice", "pan left/twice again", "tilt up/c",
              "pan left/c too")  # fmt: skip
    entries = [VideoEntry(name, f"{name}.mp4", (int(name.startswith("tilt")),)) for name in listed]
    entries[1] = replace(entries[1], labels=(1,))
    return Manifest(root, ("pan left", "tilt up"), tuple(entries))


def test_duplicates_and_wrong_labels_are_found_and_left_out(tmp_path):
    manifest = sick_set(tmp_path / "set")
    found = examine_all(manifest, tmp_path / "log.jsonl", workers=2)
    diagnosis = diagnose(manifest, found)
    assert [(problem.video_id, problem.kind) for problem in diagnosis.problems] == [
        ("pan left/b", "mislabelled"),
        ("pan left/twice again", "duplicate"),
        ("tilt up/c", "mislabelled"),
        ("pan left/c too", "mislabelled"),
    ]
    details = [problem.detail for problem in diagnosis.problems]
    assert details[0] == "labelled 'tilt up', but lies in the folder 'pan left'"
    assert details[1] == "the same content as pan left/twice.mp4"
    assert "pan left/c too.mp4 has the same content and is labelled 'pan left'" in details[2]
    assert [entry.video_id for entry in diagnosis.clean.entries] == ["pan left/a", "pan left/twice"]
    assert diagnosis.lost_by_class == {"pan left": 0.5, "tilt up": 1.0}


def test_parts_of_one_film_are_no_duplicates(tmp_path):
    write_mp4(tmp_path / "film.mp4", film_motion(1, 48, 1))
    entries = (
        VideoEntry("a", "film.mp4", (0,), 0.0, 1.0),
        VideoEntry("b", "film.mp4", (1,), 1.0, 2.0),
        VideoEntry("c", "film.mp4", (1,), 2.0, 9.0),
    )
    manifest = Manifest(tmp_path, ("run", "swim"), entries)
    diagnosis = diagnose(manifest, {"film.mp4": examine(tmp_path / "film.mp4")})
    assert [(problem.video_id, problem.kind) for problem in diagnosis.problems] == [
        ("c", "wrong-duration")
    ]
    assert diagnosis.clean == manifest


def test_lengths_are_compared_with_names_and_headers(tmp_path):
    path = write_mp4(tmp_path / "a_000010_000020.mp4", film_motion(1, 32, 1))
    seen = examine(path)
    entry = VideoEntry("a_000010_000020", path.name, (0,))
    manifest = Manifest(tmp_path, ("run",), (entry,))
    [problem] = diagnose(manifest, {path.name: seen}).problems
    assert problem.detail == "got 2.00 s, its name says 10.00 s"
    entry = replace(entry, video_id="a")
    manifest = Manifest(tmp_path, ("run",), (entry,))
    assert diagnose(manifest, {path.name: seen}).problems == ()
    [problem] = diagnose(manifest, {path.name: replace(seen, stated_seconds=3.0)}).problems
    assert problem.detail == "got 2.00 s, the container states 3.00 s"


def test_videos_in_the_log_are_not_decoded_again(tmp_path, made, monkeypatch):
    manifest = open_dataset(made.root)
    log = tmp_path / "out" / "log.jsonl"
    first = examine_all(manifest, log, workers=2)
    assert len(log.read_text().splitlines()) == len(manifest.entries)
    decoded = []

    def count(path, rate_hz):
        decoded.append(path.name)
        return examine(path, rate_hz)

    monkeypatch.setattr(rounds_module, "examine", count)
    reported = []
    assert examine_all(manifest, log, 2, reported.append) == first
    assert decoded == []
    assert len(reported) == len(manifest.entries)
    # Half a line, as a kill leaves it; a file that changed; a file that came.
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]) + lines[-1][:20])
    torn = json.loads(lines[-1])["path"]
    good = next(e for e in manifest.entries if made.kinds[e.video_id] == "valid" and e.path != torn)
    write_mp4(manifest.resolve(good), film_motion(1, 20, 9))
    missing = next(e for e in manifest.entries if made.kinds[e.video_id] == "missing")
    write_mp4(manifest.resolve(missing), film_motion(1, 20, 8))
    again = examine_all(manifest, log, workers=1)
    expected = {Path(name).name for name in (torn, good.path, missing.path)}
    assert set(decoded) == expected
    assert again[missing.path].state == "whole"
    assert again[good.path].frames == 20
    decoded.clear()
    assert examine_all(manifest, log, workers=1) == again
    assert decoded == []


SLOW_DOCTOR = """
import sys, time
from pathlib import Path
from co3d.datasets.doctor import examine_all, rounds
from co3d.datasets.layouts import open_dataset
real = rounds.examine
def slowly(path, rate_hz):
    time.sleep(0.15)
    return real(path, rate_hz)
rounds.examine = slowly
examine_all(open_dataset(Path(sys.argv[1])), Path(sys.argv[2]), 2)
"""


def test_a_kill_loses_nothing_that_was_finished(tmp_path, made):
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", SLOW_DOCTOR, str(made.root), str(log)]
    with subprocess.Popen(command) as process:
        while not log.exists() or len(log.read_text().splitlines()) < 6:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = [json.loads(line)["path"] for line in log.read_text().splitlines()]
    manifest = open_dataset(made.root)
    assert 6 <= len(kept) < len(manifest.entries)
    found = examine_all(manifest, log, workers=2)
    after = [json.loads(line)["path"] for line in log.read_text().splitlines()]
    assert len(after) == len(set(after)) == len(manifest.entries)
    assert after[: len(kept)] == kept
    fresh = examine_all(manifest, tmp_path / "fresh.jsonl", workers=2)
    assert found == fresh


def test_a_log_that_cannot_be_written(tmp_path, made):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        examine_all(open_dataset(made.root), tmp_path / "file" / "log.jsonl", 1)
