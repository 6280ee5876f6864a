import json

import pytest

from co3d.datasets.clips import VideoClips
from co3d.datasets.manifest_file import read_manifest
from co3d.datasets.sampling import Sampling
from co3d.models.camera_motion import CAMERA_MOTION_CARD
from support.miniature import make_charades, make_kinetics


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_kinetics(tmp_path_factory.mktemp("data") / "set", classes=["pan left"])


def tree(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_annotations_alone_become_a_manifest(co3d, tmp_path):
    made = make_charades(tmp_path / "set")
    outcome = co3d("data", "prepare", made.root, "--output", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.lines == [
        {"manifest": str(tmp_path / "out" / "manifest.jsonl"), "videos": 3, "left_out": []}
    ]
    manifest = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert manifest.root == made.root
    assert manifest.multi_label
    assert {entry.video_id: entry.labels for entry in manifest.entries} == made.labels
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]


@pytest.mark.parametrize("form", ["video", "frames"])
def test_all_readable_videos_are_copied(co3d, made, tmp_path, form):
    before = tree(made.root)
    out = tmp_path / "out"
    arguments = ("data", "prepare", made.root, "--split", "val", "--output", out, "--to", form,
                 "--short-side", 32, "--rate-hz", 8)  # fmt: skip
    outcome = co3d(*arguments)
    assert outcome.code == 0, outcome.err
    assert "7 videos, 3 left out" in outcome.out
    assert tree(made.root) == before
    manifest = read_manifest(out / "manifest.jsonl")
    assert manifest.root == out
    assert {entry.video_id for entry in manifest.entries} == made.readable
    left_out = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert {line["video_id"] for line in left_out} == set(made.kinds) - made.readable
    clips = VideoClips(manifest, CAMERA_MOTION_CARD, Sampling(kind="whole"), strict=True)
    for index, entry in enumerate(manifest.entries):
        seconds = made.frames[entry.video_id] / 16
        assert clips[index]["clip"].shape[1] == pytest.approx(8 * seconds, abs=1)
    copied = tree(out / "val")
    assert co3d(*arguments).code == 0
    assert tree(out / "val") == copied  # nothing was done twice
    other = co3d(*arguments[:-1], 4)
    assert (other.code, other.err.count("\n")) == (40, 1)
    assert "copies of another set or kind" in other.err


def test_strict_mode_stops(co3d, made, tmp_path):
    outcome = co3d("data", "prepare", made.root, "--output", tmp_path, "--to", "video", "--strict")
    assert outcome.code == 16
    assert "cannot copy the video" in outcome.err
    assert not (tmp_path / "manifest.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--output", "inside"], 40, "stays as it is"),
        (["--output", "../out", "--rate-hz", "4"], 2, "add --to"),
        (["--output", "../out", "--to", "video", "--rate-hz", "-4"], 2, "rate above 0"),
        (["--output", "../out", "--workers", "-4"], 2, "1 or more"),
        (["--output", "splits/val.csv/out"], 40, "stays as it is"),
    ],
)
def test_bad_input_is_one_line(co3d, made, monkeypatch, arguments, code, said):
    monkeypatch.chdir(made.root)
    outcome = co3d("data", "prepare", ".", *arguments)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1), outcome.err
    assert said in outcome.err
