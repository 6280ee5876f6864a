"""`co3d eval` on miniatures: what it says, writes, refuses, and how it goes on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from co3d.cli.main import run
from co3d.errors import OutputError
from co3d.evaluation.log import FORMAT
from co3d.files import own_folder
from support.evaluations import STREAM, evaluate
from support.miniature import make_charades, make_kinetics

PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    return make_kinetics(tmp_path_factory.mktemp("kinetics"), classes=("pan left", "zoom in"))


@pytest.fixture(scope="module")
def charades(tmp_path_factory):
    return make_charades(tmp_path_factory.mktemp("charades"), videos=3)


@pytest.fixture(scope="module")
def uninterrupted(kinetics, tmp_path_factory):
    """The summary and the folder of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    arguments = ("eval", "--data", kinetics.root, "--output", folder, *STREAM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "excepthook", sys.excepthook)  # `run` sets its own
        with pytest.raises(SystemExit) as exit_info:
            run([str(argument) for argument in arguments])
    assert exit_info.value.code == 0
    return json.loads((folder / "summary.json").read_text()), folder


def without_timing(summary: dict) -> dict:
    return {key: value for key, value in summary.items() if key != "run"}


def read_tables(folder: Path) -> list[list[dict]]:
    return [
        sorted(
            pq.read_table(folder / f"{name}.parquet").to_pylist(),
            key=lambda row: (row["video_id"], row.get("step")),
        )
        for name in ("predictions", "frames")
    ]


def test_streams(co3d, kinetics, uninterrupted):
    summary, folder = uninterrupted
    videos = summary["videos"]
    assert videos["judged"] == len(kinetics.readable)
    assert set(videos["excluded"]) == set(kinetics.kinds) - kinetics.readable
    assert videos["ended_before_network_was_full"] == 2  # the short ones
    rows, steps = read_tables(folder)
    right = [
        max(range(9), key=row["last"].__getitem__) in row["labels"] for row in rows if row["last"]
    ]
    assert summary["measures"]["last"]["top1"] == pytest.approx(sum(right) / len(right))
    assert summary["measures"]["warm"]["top1"] > 0.7  # the bundled network knows its trade
    assert {row["video_id"] for row in rows} == set(kinetics.kinds)
    assert len(steps) == sum(row["frames"] for row in rows)
    transient = summary["transient"]
    assert transient["first_valid"] == 12
    assert transient["values"][11] > 0.9 > transient["values"][0]
    report = (folder / "report.md").read_text()
    for name in ("confusion", "classes", "reliability", "transient"):
        assert f"({name}.png)" in report
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert f"{100 * summary['measures']['last']['top1']:.2f}" in report


@pytest.mark.usefixtures("no_pictures")
def test_a_killed_run_resumes_without_repeating_or_losing_a_video(
    co3d, kinetics, uninterrupted, spawn_co3d, tmp_path
):
    folder = tmp_path / "killed"
    log = folder / "log.0.jsonl"
    process = spawn_co3d("eval", "--data", kinetics.root, "--output", folder, *STREAM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not log.exists() or log.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    before = log.read_bytes()
    done = before.count(b"\n") - 1
    assert 2 <= done < len(kinetics.kinds), "the kill came too late to prove anything"
    log.write_bytes(before + b'{"index": 7, "video_id": "half a l')  # killed while writing
    summary = evaluate(co3d, kinetics, folder, *STREAM)
    errors = [json.loads(line)["error"] for line in before.splitlines()[1 : done + 1]]
    assert summary["run"]["resumed"] == errors.count(None)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[0]["format"] == FORMAT
    good = [line["index"] for line in lines[1:] if line["error"] is None]
    assert len(good) == len(set(good)) == len(kinetics.readable)
    assert {line["index"] for line in lines[1:]} == set(range(len(kinetics.kinds)))
    assert log.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    whole, whole_folder = uninterrupted
    assert without_timing(summary) == without_timing(whole)
    assert read_tables(folder) == read_tables(whole_folder)


@pytest.mark.parametrize("command", [("eval", *STREAM), ("features", "--layer", "blocks.1")])
def test_a_folder_of_a_running_run_is_refused(co3d, kinetics, tmp_path, command):
    name, *options = command
    with own_folder(tmp_path):
        outcome = co3d(name, "--data", kinetics.root, "--output", tmp_path, *options)
    assert outcome.code == OutputError.exit_code
    assert "another run is at work in it" in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(co3d, kinetics, uninterrupted, tmp_path):
    folder = tmp_path / "two"
    assert len(kinetics.kinds) % 2  # uneven shares
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "co3d", "eval", "--data", str(kinetics.root), "--output", str(folder)]
    done = subprocess.run(
        [*command, *STREAM],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    logs = [(folder / f"log.{rank}.jsonl").read_text().count("\n") - 1 for rank in (0, 1)]
    assert logs == [(len(kinetics.kinds) + 1) // 2, len(kinetics.kinds) // 2]
    summary = json.loads((folder / "summary.json").read_text())
    whole, whole_folder = uninterrupted
    assert summary["run"]["processes"] == 2
    assert without_timing(summary) == without_timing(whole)
    assert read_tables(folder) == read_tables(whole_folder)
    # One process alone finds everything done but the bad ones, which it tries again.
    again = evaluate(co3d, kinetics, folder, *STREAM)
    assert again["run"]["resumed"] == len(kinetics.readable)
    assert without_timing(again) == without_timing(whole)


def test_clips_of_several_labels(co3d, charades, tmp_path):
    summary = evaluate(co3d, charades, tmp_path, "--mode", "clip", "--views", "4x1")
    assert summary["videos"]["judged"] == 3
    assert 0 < summary["measures"]["clip"]["mean_average_precision"] <= 1
    assert 0.3 < summary["localisation"]["mean_average_precision"] <= 1
    assert summary["transient"] is None
    assert not (tmp_path / "confusion.png").exists()


def test_streams_of_several_labels_localise(co3d, charades, tmp_path):
    options = ("--fill", "replicate", "--frame-scores")
    summary = evaluate(co3d, charades, tmp_path, *STREAM, *options)
    assert summary["localisation"]["mean_average_precision"] > 0.6
    assert summary["settings"]["fill"] == "replicate"
    transient = summary["transient"]
    assert transient["measure"] == "mAP"
    assert transient["frames"] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]  # 80 frames each
    assert transient["videos"] == [3] * 12
    assert max(transient["values"]) > transient["values"][0]
    assert (tmp_path / "transient.png").read_bytes().startswith(b"\x89PNG")
    _, steps = read_tables(tmp_path)
    for step in steps:
        assert len(step["scores"]) == 9
        assert step["scores"].index(max(step["scores"])) == step["label"]
        assert max(step["scores"]) == step["confidence"]
    detection = summary["detection"]
    assert detection["frames"] == len(steps) == 240
    assert 0.5 < detection["mean_average_precision"] < detection["mean_calibrated_precision"] <= 1
    assert 0 < detection["detected"] <= detection["intervals"]
    assert 0 < detection["median_delay_seconds"] < 2
    assert "Online detection (240 frames): mAP" in (tmp_path / "report.md").read_text()
    # Other runs have no scores of frames, and are others.
    outcome = co3d("eval", "--data", charades.root, "--output", tmp_path, *STREAM, *options[:2])
    assert outcome.code == 2
    assert "frame_scores" in outcome.err


@pytest.mark.usefixtures("no_pictures")
def test_the_papers_studies_are_options(co3d, kinetics, tmp_path):
    """A longer window, another frame rate, another number of frames to start with."""
    options = ("--window", 12, "--rate-hz", 16, "--init", 20, "--limit", 8)
    summary = evaluate(co3d, kinetics, tmp_path, *STREAM, *options)
    settings = summary["settings"]
    assert (settings["window"], settings["rate_hz"], settings["init"]) == (12, 16.0, 20)
    assert summary["transient"]["first_valid"] == 16  # four frames more than with a window of 8
    rows, steps = read_tables(tmp_path)
    assert max(row["frames"] for row in rows) == 128  # of the long video: all that were filmed
    evaluated = next(row for row in rows if row["frames"] == 32)
    (step,) = (s for s in steps if s["video_id"] == evaluated["video_id"] and s["step"] == 20)
    assert max(evaluated["warm"]) == pytest.approx(step["confidence"])
    assert "after the first 20 frames" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_json_is_all_that_is_printed(co3d, kinetics, tmp_path):
    options = ("--mode", "clip", "--limit", 3, "--json", "--output", tmp_path)
    outcome = co3d("eval", "--data", kinetics.root, *options)
    (summary,) = outcome.lines
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["views"] == "1x1"
    evaluated = summary["videos"]["judged"]
    # More videos go on from these, other settings do not.
    options = ("--mode", "clip", "--limit", 5, "--json", "--output", tmp_path)
    assert co3d("eval", "--data", kinetics.root, *options).lines[0]["run"]["resumed"] == evaluated
    outcome = co3d("eval", "--data", kinetics.root, *options, "--views", "2x1")
    assert outcome.code == 2
    assert "views '1x1', now '2x1'" in outcome.err


@pytest.mark.usefixtures("no_pictures")
def test_strict_mode_stops_at_a_bad_video_and_keeps_what_was_evaluated(co3d, kinetics, tmp_path):
    arguments = ("eval", "--data", kinetics.root, "--mode", "clip", "--output", tmp_path)
    outcome = co3d(*arguments, "--strict")
    assert outcome.code == 16
    assert "without --strict it would be left out" in outcome.err
    evaluated = (tmp_path / "log.0.jsonl").read_text().count("\n") - 1
    assert evaluated > 0
    assert not (tmp_path / "report.md").exists()
    assert co3d(*arguments).code == 0
    outcome = co3d(*arguments, "--strict")  # with everything evaluated
    assert outcome.code == 16
    assert "stopped at video" in outcome.err


def test_a_data_set_without_a_good_video_is_an_error_and_has_a_report(co3d, tmp_path):
    (tmp_path / "list.csv").write_text("a.mp4,pan left\nb.mp4,zoom in\n")
    output = tmp_path / "out"
    outcome = co3d("eval", "--data", tmp_path / "list.csv", "--mode", "clip", "--output", output)
    assert outcome.code == 16
    assert "got no video of 2 that can be read" in outcome.err
    assert "No video could be evaluated" in (output / "report.md").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_a_bad_video_that_was_fetched_again_counts(co3d, tmp_path):
    made = make_kinetics(
        tmp_path / "k", classes=("pan left",), per_class=2, kinds=("valid", "empty"), missing=0
    )
    options = ("--mode", "clip")
    first = evaluate(co3d, made, tmp_path / "out", *options)
    (bad,) = first["videos"]["excluded"]
    whole, broken = (made.root / "val" / "pan left" / f"{name}.mp4" for name in made.kinds)
    assert broken.stem == bad
    broken.write_bytes(whole.read_bytes())
    again = evaluate(co3d, made, tmp_path / "out", *options)
    assert (again["videos"]["judged"], again["videos"]["excluded"]) == (2, {})
    assert again["run"]["resumed"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly(co3d, kinetics, tmp_path, monkeypatch, number):
    from co3d.evaluation.log import PredictionLog

    append = PredictionLog.append

    def append_and_signal(self, record):
        append(self, record)
        if record.index == 4:
            signal.raise_signal(number)

    monkeypatch.setattr(PredictionLog, "append", append_and_signal)
    arguments = ("eval", "--data", kinetics.root, "--mode", "clip", "--output", tmp_path)
    outcome = co3d(*arguments)
    assert outcome.code == 130
    assert "to continue with the remaining videos" in outcome.err
    assert "Traceback" not in outcome.err
    monkeypatch.undo()
    summary = evaluate(co3d, kinetics, tmp_path, "--mode", "clip")
    assert summary["run"]["resumed"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mode", "clip", "--window", "8"), "--window: it belongs to streams"),
        (("--mode", "stream", "--views", "1x1"), "--views: it belongs to clips"),
        (("--mode", "clip", "--views", "0x3"), "--views 10x3"),
        (("--mode", "clip", "--init", "4"), "--init: it belongs to streams"),
        (("--mode", "stream", "--init", "-1"), "--init -1: expected at least 0"),
        (("--mode", "clip", "--limit", "0"), "at least 1"),
        (("--mode", "clip", "--precision", "float8"), "got precision 'float8'"),
        (("--mode", "clip", "--device", "warp"), "on device 'warp'"),
        (("--mode", "stream", "--backend", "magic"), "got backend 'magic'"),
        (("--mode", "clip", "--rate-hz", "-1"), "a rate above 0"),
        (("--mode", "clip", "--model", "x3d_s"), "--weights kinetics400"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(co3d, kinetics, tmp_path, options, message):
    outcome = co3d("eval", "--data", kinetics.root, "--output", tmp_path / "out", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (("eval", "--mode", "clip"), "torchmetrics"),
        (("features", "--layer", "stem"), "pyarrow"),
        (("features", "--layer", "stem", "--projection", "umap"), "umap"),
    ],
)
def test_a_missing_package_is_reported_before_any_work(
    co3d, kinetics, tmp_path, monkeypatch, command, package
):
    for module in ("co3d.packages", "co3d.cli.features"):
        monkeypatch.setattr(f"{module}.is_installed", lambda name: name != package)
    name, *options = command
    outcome = co3d(name, "--data", kinetics.root, "--output", tmp_path / "out", *options)
    assert outcome.code == 34
    assert "pip install 'co3d[" in outcome.err
    assert not list(tmp_path.glob("out/*"))


def test_a_model_of_other_classes_is_refused(co3d, kinetics, tmp_path):
    outcome = co3d(
        "eval", "--data", kinetics.root, "--output", tmp_path, "--mode", "clip",
        "--model", "x3d_xs", "--weights", "random",
    )  # fmt: skip
    assert outcome.code == 16
    assert "got a data set of 2 classes, expected 400" in outcome.err


@pytest.mark.usefixtures("no_pictures")
def test_of_several_splits_the_default_one_is_used_and_printed(co3d, tmp_path):
    for split in ("train", "val"):
        make_kinetics(
            tmp_path / "set", classes=("zoom in",), kinds=("valid",), per_class=1, missing=0,
            split=split, seed=len(split),
        )  # fmt: skip
    arguments = ("eval", "--data", tmp_path / "set", "--mode", "clip", "--output")
    outcome = co3d(*arguments, tmp_path / "a")
    assert outcome.code == 0, outcome.err
    said = "Evaluating the split val. "
    assert said in outcome.err
    assert "train (1 video), val (1 video); --split NAME evaluates another" in outcome.err
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert (summary["settings"]["split"], summary["videos"]["judged"]) == ("val", 1)
    outcome = co3d(*arguments, tmp_path / "b", "--split", "all")
    assert said not in outcome.err
    assert json.loads((tmp_path / "b" / "summary.json").read_text())["videos"]["judged"] == 2
