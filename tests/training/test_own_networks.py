"""Training of networks that a user's file builds, and what comes of them."""

import json

import pytest
import torch

import co3d
from co3d.errors import OptionError, RecipeError, WeightError
from co3d.models.file_networks import build_network
from co3d.training.run import train
from co3d.training.setup import set_up
from support.noise_videos import videos, write_noise

FILE = """
import co3d
import torch
from torch import nn

CARD = co3d.ModelCard(
    name="mine", clip_frames=4, rate_hz=8.0, crop_px=32, short_side_px=32, mean=(0.5,) * 3,
    std=(0.2,) * 3, labels=("jump", "b", "a"), classifier="4",
)


def build():
    torch.manual_seed(7)
    network = nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )
    network.card = CARD
    return network


def bare():
    network = build()
    del network.card
    return network


def lost():
    import dataclasses
    network = build()
    network.card = dataclasses.replace(CARD, classifier="head")
    return network


def twice():
    network = build()
    network.append(nn.Unflatten(1, (1, 3)))
    return network
"""
AS_ON_THE_CARD = {"clip_frames": None, "rate_hz": None, "crop_px": None, "short_side_px": None}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    (root / "net.py").write_text(FILE)
    for index, name in enumerate("ab"):
        for number in range(2):
            write_noise(root / "videos" / name / f"{number}.mp4", 10 * index + number)
    return root


def recipe_of(tiny, place, factory="build", head="new", weights=None, **changes):
    return tiny(
        epochs=1,
        model={"name": f"{place}/net.py:{factory}", "weights": weights, "head": head},
        data=videos(place / "videos", **{**AS_ON_THE_CARD, **changes}),
    )


@pytest.fixture(scope="module")
def run(tiny, place):
    return train(recipe_of(tiny, place), place / "run").folder


def test_a_run_of_a_users_network_is_played_by_its_file(tiny, place, run):
    name, weights = f"{place}/net.py:build", run / "model.safetensors"
    network = build_network(name, str(weights))
    assert network.card.labels == ("a", "b")
    assert network[4].out_features == 2
    assert network.card.rate_hz == 8.0
    kept = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, kept[f"net.{key}"]), key
    assert json.loads((run / "results.json").read_text())["classes"] == ["a", "b"]
    # No file is run because a folder names it.
    with pytest.raises(WeightError, match=rf"if you trust .* --model {name} --weights {weights}"):
        co3d.create_model(str(run))
    # It can be trained further, with the names of its classes.
    setup = set_up(recipe_of(tiny, place, head="part", weights=str(weights)))
    assert torch.equal(setup.net[4].weight, network[4].weight)


def test_equal_runs_write_equal_weights(tiny, place, run, tmp_path):
    train(recipe_of(tiny, place), tmp_path / "again")
    first, second = (folder / "model.safetensors" for folder in (run, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_part_starts_from_the_rows_of_the_users_network(tiny, place):
    rows = build_network(f"{place}/net.py:build", None)[4].weight
    setup = set_up(recipe_of(tiny, place, head="part"))
    assert torch.equal(setup.net[4].weight, rows[[2, 1]])
    assert set_up(recipe_of(tiny, place, head="whole")).data.class_names == ("jump", "b", "a")


@pytest.mark.parametrize(
    ("factory", "changes", "kind", "said"),
    [
        ("bare", {}, RecipeError, "expected a co3d.ModelCard as its attribute `card`"),
        ("twice", {}, RecipeError, r"a clip gives a Tensor\(1, 1, 3\), expected logits"),
        ("lost", {}, OptionError, "head is no linear layer of .*; set `classifier` of its card"),
        ("build", {"rate_hz": 4.0}, RecipeError, "other clips than its card describes"),
        ("build", {"weights": "random"}, RecipeError, "its file settles them"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, place, factory, changes, kind, said):
    with pytest.raises(kind, match=said):
        set_up(recipe_of(tiny, place, factory, **changes))
