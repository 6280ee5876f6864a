"""`co3d average`: the mean of evaluations that were made alike."""

import json
import re

import pytest

SETTINGS = {"model": "runs/1", "weights": "its own", "split": "test1", "mode": "clip"}
SETTINGS |= {"views": "10x3", "weights_sha256": "a", "data_sha256": "b"}


@pytest.fixture
def write(tmp_path):
    def write(name, top1, **changes):
        (tmp_path / name).mkdir()
        measures = {"top1": top1, "mean_class_accuracy": None, "per_class": [top1], "top3": 1}
        summary = {
            "settings": {**SETTINGS, **changes},
            "measures": {"clip": measures},
            "videos": {"judged": 10},
        }
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
        return tmp_path / name

    return write


def test_divisions_count_alike(co3d, write):
    folders = [
        write(str(n), top1, split=f"test{n}", model=f"runs/{n}", data_sha256=str(n))
        for n, top1 in ((1, 0.9), (2, 0.8), (3, 0.85))
    ]
    outcome = co3d("average", *folders)
    assert outcome.code == 0, outcome.err
    head, *rows = outcome.out.splitlines()
    titles = "prediction", "measure", "mean %", "deviation", "test1", "test2", "test3"
    assert tuple(re.split("  +", head.strip())) == titles
    assert [row.split() for row in rows] == [
        ["clip", "top1", "85.00", "5.00", "90.00", "80.00", "85.00"],
        ["clip", "top3", "100.00", "0.00", "100.00", "100.00", "100.00"],
    ]
    (said,) = co3d("average", *folders, "--json").lines
    assert said["splits"] == ["test1", "test2", "test3"]
    assert said["measures"]["clip"]["top1"]["mean"] == pytest.approx(0.85)
    assert said["measures"]["clip"]["top1"]["values"] == [0.9, 0.8, 0.85]


def test_what_was_made_otherwise_is_not_averaged(co3d, write, tmp_path):
    one, other = write("one", 0.9), write("other", 0.8, split="test2", views="1x1", data_sha256="c")
    outcome = co3d("average", one, other)
    assert outcome.code == 16
    assert "views is '10x3' and '1x1', expected equal settings" in outcome.err
    outcome = co3d("average", one, one)
    assert outcome.code == 16
    assert "the same network on the same videos" in outcome.err
    assert "name two folders or more" in co3d("average", one).err
    assert "cannot read" in co3d("average", one, tmp_path).err
    (one / "summary.json").write_text("[]")
    assert "cannot read" in co3d("average", one, other).err
