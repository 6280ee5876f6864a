"""Folders of trained networks: what is written is what is read, and broken cards are refused."""

import dataclasses
import json

import pytest
import torch

import co3d
from co3d.errors import WeightError
from co3d.models import has_own_weights, save_model
from co3d.models.saved import CARD


@pytest.fixture
def folder(tmp_path):
    model = co3d.create_model("camera_motion", "random", num_classes=3)
    model.card = dataclasses.replace(
        model.card,
        labels=("a", "b", "c"),
        activation="sigmoid",
        rate_hz=5.0,
        clip_frames=12,
        short_side_px=70,
    )
    save_model(model, tmp_path)
    return tmp_path, model


def test_a_saved_model_is_opened_by_its_folder(folder):
    path, model = folder
    again = co3d.create_model(str(path))
    assert again.card == dataclasses.replace(model.card, bundled_weights="")
    assert co3d.get_card(str(path)).rate_hz == 5.0
    assert has_own_weights(str(path))
    for key, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key


def test_its_classifier_can_be_replaced(folder):
    path, model = folder
    again = co3d.create_model(str(path), num_classes=7)
    assert again.card.labels == ()
    assert torch.equal(again.stem[0].weight, model.stem[0].weight)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "no_such_network"),
        ("clip_frames", 0),
        ("crop_px", 1.5),
        ("short_side_px", True),
        ("rate_hz", -1),
        ("mean", [0, 0]),
        ("std", [1, 0, 1]),
        ("resize_px", [1]),
        ("antialias", 1),
    ],
)
def test_broken_cards_are_refused(folder, key, value):
    path, _ = folder
    values = json.loads((path / CARD).read_text())
    (path / CARD).write_text(json.dumps({**values, key: value}))
    with pytest.raises(WeightError, match=key if key != "name" else "no_such_network"):
        co3d.create_model(str(path))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "\xff"])
def test_files_without_a_card_are_refused(folder, text):
    path, _ = folder
    (path / CARD).write_text(text, encoding="latin-1")
    with pytest.raises(WeightError, match="cannot read the card"):
        co3d.get_card(str(path))


def test_a_folder_does_not_replace_a_registered_network(folder, monkeypatch):
    path, model = folder
    (path / "x3d_s").mkdir()
    save_model(model, path / "x3d_s")
    monkeypatch.chdir(path)
    assert not has_own_weights("x3d_s")
    assert co3d.create_model("x3d_s").card.clip_frames == 13
    assert has_own_weights("./x3d_s")
    assert co3d.create_model("./x3d_s").card.clip_frames == 12
