"""Recipes, cards, logs and stores of strangers: typed errors, in bounded memory."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from co3d.errors import DataError, OptionError, OutputError, RecipeError, WeightError
from co3d.evaluation.feature_store import FeatureStore
from co3d.evaluation.features import VideoFeatures
from co3d.evaluation.jobs import Job
from co3d.evaluation.log import PredictionLog
from co3d.models.registry import create_model
from co3d.training.recipe_file import read_recipe
from hostile.readers.targets import SETTINGS, TARGETS

LAUGHS = "a: &a [x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join(['*' + chr(97 + i)] * 9)}]}}\n"
    for i in range(12)
)


@pytest.mark.parametrize(
    "text",
    [
        *(LAUGHS, MERGES, "a: &a [*a]\n", "[" * 5000, "a: " + "9" * 60_000, "? [[1]]\n: 2\n"),
        *("a: !!python/name:os.system\n", "a: !!binary '='\n", "a: 2001-99-99\n", "epochs: .nan\n"),
        *("seed: 0x" + "f" * 9000, "x" * 70_000, "a: !!set {b}\n"),
        *("a: !!int ''\n", "a: !!bool neither\n"),
    ],
    ids=range(15),
)
def test_recipes_that_multiply_or_are_odd_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="cannot use recipe") as info:
        read_recipe(path)
    assert len(str(info.value)) < 10_000


@pytest.mark.parametrize(
    "text",
    [
        *(
            "epochs=" + "9" * 60_000,
            "epochs=" + "[" * 3000,
            "epochs=2001-99-99",
            "epochs={? [1] : 2}",
        ),
        *("model=&a [*a]", "model.name=!!binary x", "model=3", "data.kind={}", "..=1", "seed.x=1"),
        *("epochs=" + "1," * 40_000, "form=[stream]", "search.x=\x00", "x" * 20_000 + "=1"),
    ],
    ids=range(14),
)
def test_overrides_of_odd_types_are_refused(text: str) -> None:
    with pytest.raises(RecipeError) as info:
        read_recipe("camera_motion", [text])
    assert len(str(info.value)) < 10_000


@pytest.mark.parametrize(
    "change",
    [
        {"name": ["x3d_s"]},
        {"name": {}},
        {"rate_hz": 10**400},
        {"mean": [10**400, 0, 0]},
        {"clip_frames": True},
        {"resize_px": [[1], [1]]},
    ],
)
def test_cards_of_odd_values_are_refused(change: dict, tmp_path: Path) -> None:
    card = TARGETS["run_folder"].make(tmp_path)[0]
    card.write_text(json.dumps({**json.loads(card.read_text()), **change}))
    with pytest.raises(WeightError, match="cannot read the card"):
        create_model(str(tmp_path))


def test_a_classifier_of_millions_of_classes_builds_no_network(tmp_path: Path) -> None:
    state = create_model("camera_motion", "random").state_dict()
    name = next(key for key in reversed(state) if key.endswith("weight"))
    state[name] = torch.zeros(1, 1).expand(10_000_000, 1)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightError, match="10000000 classes"):
        create_model("camera_motion", weights=tmp_path / "w.pth")


JOB = Job(0, None)  # type: ignore[arg-type]


def write_arrays(path: Path, compression: int = zipfile.ZIP_STORED, **arrays: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", buffer.getvalue())


TIMES = np.zeros(2)
GOOD = {"start_seconds": TIMES, "end_seconds": TIMES, "features": np.ones((2, 3), np.float32)}


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.array([[object()]])},
        {"features": np.ones((2, 3))},
        {"features": np.ones((3, 3), np.float32)},
        {"features": np.array(["x"])},
        {"start_seconds": np.zeros((2, 2))},
        {"end_seconds": np.array([None, None])},
        {"more": TIMES},
    ],
)
def test_parts_of_a_feature_store_that_are_odd_count_as_absent(
    change: dict, tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path, SETTINGS)
    write_arrays(tmp_path / "000000.npz", **GOOD)
    assert isinstance(store.find(JOB), VideoFeatures)
    write_arrays(tmp_path / "000000.npz", **{**GOOD, **change})
    assert store.find(JOB) is None


def test_bombs_and_pipes_in_a_feature_store_count_as_absent(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SETTINGS)
    write_arrays(tmp_path / "000000.npz", zipfile.ZIP_DEFLATED, **GOOD)
    assert store.find(JOB) is None
    (tmp_path / "000000.npz").unlink()
    os.mkfifo(tmp_path / "000000.npz")
    assert store.find(JOB) is None
    (tmp_path / "run.json").unlink()
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DataError, match="it is no file"):
        FeatureStore(tmp_path, SETTINGS)


DEEP = b"[" * 100_000


def test_deep_json_in_a_store_and_a_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(DEEP)
    with pytest.raises(DataError, match="is no co3d feature store"):
        FeatureStore(tmp_path, SETTINGS)
    path = TARGETS["log"].make(tmp_path)[0]
    path.write_bytes(path.read_bytes() + DEEP + b"\n")
    with pytest.raises(DataError, match=r"line 4 of .* is broken"):
        PredictionLog(path, SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"index": "x"},
        {"frames": -1},
        {"labels": [[1]]},
        {"video_id": 3},
        {"error": {}},
        {"scores": {"clip": [1e999]}, "moments": [["x"]]},
        {"trace": {"pts_seconds": [1], "labels": [], "confidences": [], "first_valid": 0}},
        {"trace": {"pts_seconds": [], "labels": [], "confidences": [], "first_valid": "x"}},
        {"trace": {"pts_seconds": [0], "labels": [2**40], "confidences": [0], "first_valid": 0}},
    ],
)
def test_records_of_odd_values_are_refused(change: dict, tmp_path: Path) -> None:
    path = TARGETS["log"].make(tmp_path)[0]
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(DataError, match=r"line 2 of .* is broken"):
        PredictionLog(path, SETTINGS)


def test_a_pipe_for_a_log_is_refused_and_long_settings_are_shown_in_short(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(OutputError, match="it is no file"):
        PredictionLog(tmp_path / "log.jsonl", SETTINGS)
    other = tmp_path / "other.jsonl"
    PredictionLog(other, {**SETTINGS, "model": "x" * 100_000}).close()
    with pytest.raises(OptionError, match="holds another run") as info:
        PredictionLog(other, SETTINGS)
    assert len(str(info.value)) < 1000
