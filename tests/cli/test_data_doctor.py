import json
import signal

import numpy as np
import pytest

from co3d.datasets.doctor import examine_all
from co3d.datasets.manifest_file import read_manifest
from support.miniature import make_kinetics, write_mp4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_kinetics(tmp_path_factory.mktemp("data") / "set", classes=["pan left"])


def tree(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_report_manifest_and_picture(co3d, made, tmp_path):
    before = tree(made.root)
    outcome = co3d("data", "doctor", made.root, "--split", "val", "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["listed"] == 10
    assert report["usable"] == 7
    assert report["counts"] == {
        "missing": 1,
        "unreadable": 1,
        "zero-frame": 1,
        "truncated": 0,
        "mislabelled": 0,
        "duplicate": 0,
        "wrong-duration": 1,
    }
    assert report["accuracy"]["worst"] == pytest.approx([0.75 * 0.7, 0.75 * 0.7 + 0.3])
    assert "Wilson" in report["accuracy"]["method"]
    assert report["statistics"]["variable_rate"] == 1
    clean = read_manifest(tmp_path / "out" / "clean.jsonl")
    assert {entry.video_id for entry in clean.entries} == made.readable
    assert all(clean.resolve(entry).is_file() for entry in clean.entries)
    assert (tmp_path / "out" / "statistics.png").read_bytes()[:4] == b"\x89PNG"
    assert "52.5% to 82.5% in any case" in outcome.out
    assert "unreadable: " in outcome.out
    assert tree(made.root) == before


def test_names_in_any_script(co3d, tmp_path):
    made = make_kinetics(tmp_path / "漢字", classes=["pan left"], kinds=("non-ascii",), per_class=1)
    outcome = co3d("data", "doctor", "--no-sandbox", made.root, "--output", tmp_path / "út")
    assert (outcome.code, outcome.err) == (0, "")
    assert "ü漢字" in (tmp_path / "út" / "clean.jsonl").read_text("utf-8")


def test_json_alone_on_standard_output(co3d, made, tmp_path):
    outcome = co3d(
        "data",
        "doctor",
        "--no-sandbox",
        made.root,
        "--json",
        "--output",
        tmp_path,
        "--accuracy",
        0.5,
    )
    assert outcome.lines[0]["accuracy"]["accuracy"] == 0.5
    assert len(outcome.lines) == 1
    assert outcome.err == ""


def test_folders_come_from_the_environment(co3d, made, tmp_path, monkeypatch):
    monkeypatch.setenv("DATASETS_PATH", str(made.root.parent))
    monkeypatch.setenv("LOGS_PATH", str(tmp_path / "logs"))
    monkeypatch.chdir(tmp_path)
    assert co3d("data", "doctor", "--no-sandbox", "set", "--split", "val").code == 0
    assert (tmp_path / "logs" / "doctor" / "set-val" / "report.json").is_file()


def test_nothing_is_written_into_a_data_set(co3d, made):
    outcome = co3d("data", "doctor", made.root, "--output", made.root / "report")
    assert (outcome.code, outcome.err.count("\n")) == (40, 1)
    assert "stays as it is" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["/nowhere"], 16, "cannot find the data set /nowhere"),
        ([".", "--accuracy", "2"], 2, "0 to 1"),
        ([".", "--workers", "-1"], 2, "1 or more"),
        ([".", "--layout", "charades"], 16, "annotations"),
        ([".", "--split", "test"], 16, "test"),
        ([".", "--classes", "ucf"], 2, "class names"),
    ],
)
def test_bad_input_is_one_line(co3d, made, monkeypatch, tmp_path, arguments, code, said):
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("LOGS_PATH", str(tmp_path))
    outcome = co3d("data", "doctor", *arguments)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1), outcome.err
    assert said in outcome.err


def test_ctrl_c_keeps_the_log_and_the_next_run_goes_on(co3d, tmp_path, monkeypatch):
    made = make_kinetics(tmp_path / "set", classes=["pan left"], kinds=("short",))
    out = tmp_path / "out"
    command = ("data", "doctor", made.root, "--output", out, "--workers", 1)
    log = out / "log.jsonl"

    def examine_and_interrupt(manifest, log, workers, report, sandbox):
        def interrupt(seen):
            report(seen)
            signal.raise_signal(signal.SIGINT)

        return examine_all(manifest, log, workers, interrupt, sandbox)

    with monkeypatch.context() as patch:
        patch.setattr("co3d.cli.data_doctor.examine_all", examine_and_interrupt)
        outcome = co3d(*command)
    assert (outcome.code, outcome.err.count("\n")) == (130, 1)
    assert "run the same command to continue" in outcome.err
    assert [path.name for path in out.iterdir()] == ["log.jsonl"]
    before = log.read_text()
    assert 0 < before.count("\n") < 10
    finished = co3d(*command)
    assert finished.code == 0, finished.err
    assert log.read_text().startswith(before)
    assert log.read_text().count("\n") == 10
    assert "│ listed                │     10 │" in finished.out


def test_classes_and_splits_are_counted(co3d, tmp_path):
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    for number, place in enumerate(("train/run/a", "train/swim/b", "test/run/c")):
        write_mp4(tmp_path / "set" / f"{place}.mp4", frames + np.uint8(60 * number))
    outcome = co3d("data", "doctor", "--no-sandbox", tmp_path / "set", "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "splits: test 1, train 2" in outcome.out
    assert "2 classes: run 2, swim 1" in outcome.out
    clean = read_manifest(tmp_path / "out" / "clean.jsonl")
    assert clean.splits == {"test": 1, "train": 2}


def test_nothing_usable_is_a_failure(co3d, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "list.csv").write_text("a.mp4,run\nb.mp4,swim\n")
    outcome = co3d(
        "data",
        "doctor",
        "--no-sandbox",
        tmp_path / "set" / "list.csv",
        "--output",
        tmp_path / "out",
    )
    assert outcome.code == 16
    assert "got no usable video of 2 listed" in outcome.err
    assert json.loads((tmp_path / "out" / "report.json").read_text())["counts"]["missing"] == 2
