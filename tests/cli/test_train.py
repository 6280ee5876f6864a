"""`co3d train` and `co3d finetune`, as a user meets them."""

import csv
import functools
import json
import sys

import pytest
import yaml

import co3d as package
from co3d import packages
from co3d.training import rate_test
from support.miniature import film_motion, write_mp4

TINY = {
    "name": "tiny",
    "epochs": 1,
    "model": {"weights": "random"},
    "data": {
        "kind": "camera_motion",
        "frames_per_batch": 8,
        "clip_lengths": [4],
        "steps_per_epoch": 2,
        "validation_clips": 2,
        "crops_per_photograph": 1,
        "textures_per_kind": 1,
        "workers": 0,
    },
    "compute": {"accelerator": "cpu"},
    "logging": {"tensorboard": False},
}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOGS_PATH", raising=False)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def test_a_trained_network_streams(co3d, recipe, tmp_path, video):
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    outcome = co3d("train", recipe, "epochs=2", "--json")
    assert outcome.code == 0, outcome.err
    (result,) = outcome.lines
    assert result["folder"] == "runs/tiny-2"
    assert result["epochs"] == 2
    assert result["scores"].keys() == {"clip_accuracy", "clip_loss"}
    streamed = co3d("stream", video, "--model", "runs/tiny-2", "--backend", "torch", "--json")
    assert streamed.code == 0, streamed.err
    assert len(streamed.lines) > 5


def test_mistakes_are_one_line_with_an_exit_code(co3d, recipe, tmp_path):
    assert co3d("train").code == 2
    misspelt = co3d("train", recipe, "epoch=2")
    assert misspelt.code == 50
    assert "did you mean epochs?" in misspelt.err
    assert co3d("train", recipe, "--resume").code == 2
    nothing = co3d("train", recipe, "--resume", "--output", tmp_path / "none")
    assert nothing.code == 51
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert co3d("train", recipe, "--output", tmp_path / "full").code == 40


def test_a_try_out_and_a_rate_test(co3d, recipe, tmp_path, monkeypatch):
    short = functools.partial(rate_test.find_learning_rate, steps=24)
    monkeypatch.setattr(rate_test, "find_learning_rate", short)
    tried = co3d("train", recipe, "--fast-dev-run")
    assert tried.code == 0, tried.err
    assert "The recipe tiny runs." in tried.err
    assert list(tmp_path.iterdir()) == [recipe]
    rated = co3d("train", recipe, "--find-learning-rate", "--json", "--output", tmp_path / "rate")
    assert rated.code == 0, rated.err
    (found,) = rated.lines
    assert 1e-6 <= found["suggested"] <= 1
    assert len(found["rates"]) == len(found["losses"]) >= 10
    assert [path.name for path in (tmp_path / "rate").iterdir()] == ["learning_rate.png"]


def test_recipes_are_listed(co3d):
    listed = co3d("train", "--list", "--json")
    (recipes,) = listed.lines
    assert {"camera_motion", "finetune", "kinetics400_x3d_s"} <= recipes.keys()
    assert all(summary.endswith(".") for summary in recipes.values())
    assert "camera_motion" in co3d("train", "--list").out


def test_a_folder_of_videos_makes_a_network(co3d, recipe, tmp_path):
    for label, name in enumerate(("still", "left")):
        for number in range(2):
            write_mp4(tmp_path / "mine" / name / f"{number}.mp4", film_motion(label, 16, number))
    for number in range(2):
        write_mp4(tmp_path / "else" / f"{number}.mp4", film_motion(5, 16, number))
    outcome = co3d(
        *("finetune", tmp_path / "mine", "--model", "camera_motion"),
        *("--background", tmp_path / "else", "--json", "--output", tmp_path / "run"),
        *("epochs=2", "data.workers=0", "data.batch=3", "data.clips_per_video=1"),
        *("freezing.unfreeze_every=1", "logging.tensorboard=false"),
    )
    assert outcome.code == 0, outcome.err
    card = package.create_model(str(tmp_path / "run")).card
    assert card.labels == ("left", "still", "background")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["classes"] == ["left", "still", "background"]


NETWORK = """
import co3d
def build():
    return co3d.create_model("camera_motion")
"""


def test_a_network_of_a_users_file_is_trained(co3d, recipe, tmp_path):
    for label, name in enumerate(("still", "left")):
        for number in range(2):
            write_mp4(tmp_path / "mine" / name / f"{number}.mp4", film_motion(label, 16, number))
    (tmp_path / "net.py").write_text(NETWORK)
    settings = ("epochs=1", "data.workers=0", "data.clips_per_video=1", "logging.tensorboard=false")
    outcome = co3d("finetune", "mine", "--model", "net.py:build", "--output", "run", *settings)
    assert outcome.code == 0, outcome.err
    played = "--model net.py:build --weights run/model.safetensors"
    assert f"Play it: co3d stream VIDEO {played}\n" in outcome.err
    judged = ("--data", "mine", "--mode", "clip", "--output", "judged", "--json")
    outcome = co3d("eval", *judged, *played.split())
    assert outcome.code == 0, outcome.err
    with (tmp_path / "judged" / "classes.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["left", "still"]


def test_finetuning_says_what_is_missing(co3d, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert co3d("finetune", tmp_path, "--model", "x3d").code == 20
    empty = co3d("finetune", tmp_path, "--model", "camera_motion")
    assert empty.code == 16
    assert "got no video" in empty.err
    assert not list(tmp_path.glob("runs/*"))  # no folder for a run that did not begin


def test_a_search_leaves_a_network_and_resumes(co3d, recipe, tmp_path):
    study, rate = tmp_path / "study", "optimiser.learning_rate=log:1e-4..1e-1"
    searched = co3d("tune", recipe, "--search", rate, "--trials", 1, "--output", study, "--json")
    assert searched.code == 0, searched.err
    (found,) = searched.lines
    assert found["folder"] == str(study)
    assert found["best"] == found["trials"][0]
    assert "trial 0: complete at" in searched.err
    again = co3d("tune", study / "recipe.yaml", "--trials", 1, "--output", study, "--resume")
    assert again.code == 0, again.err
    assert f"co3d stream VIDEO --model {study}" in again.err.replace("\n", "")
    assert package.create_model(str(study)).card.name == "camera_motion"


def test_a_search_says_what_is_missing(co3d, recipe, monkeypatch):
    assert co3d("tune", recipe, "--output", "x").code == 50
    assert co3d("tune", recipe, "--search", "epoch=1..2").code == 50
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(packages, "is_installed", lambda name: name != "optuna")
    missing = co3d("tune", recipe, "--search", "epochs=1..2")
    assert missing.code == 34
    assert "pip install 'co3d[tune]'" in missing.err
