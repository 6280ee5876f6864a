"""Every registered model, and what `create_model` does with its options."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from co3d.errors import OptionError, UnknownModelError, WeightError
from co3d.models import (
    ClipModel,
    create_model,
    get_card,
    list_models,
    register_model,
    registry,
)
from co3d.models.description import write_description
from co3d.models.resnet3d import STAGE_DEPTHS
from co3d.weights import save_weights
from support.registry import MODELS
from support.slow import slow_but

SIDE_PX = 32
FRAMES = 2
# Where these are too few for a map to vary under its norms.
LARGER: dict[str, tuple[int, int]] = {
    "i3d_r50": (4, 64),
    "i3d_r50_32x2": (16, 64),
    "slow_r50": (2, 64),
    **{name: (8, 64) for name in list_models() if name.startswith("slowfast_")},
    "r2plus1d_18": (4, 32),
    **dict.fromkeys(("r2plus1d_r34_8x8", "r2plus1d_r34_32x2", "r2plus1d_r50"), (4, 64)),
    "r3d_18": (4, 32),
    "mc3_18": (4, 32),
    "s3d": (16, 64),
    "c2d_r50": (4, 64),
    **dict.fromkeys(("ir_csn_101", "ir_csn_152", "ip_csn_152"), (8, 64)),
    **{name: (4, 64) for name in list_models() if name.startswith(("tsm_", "movinet_"))},
}

MMACTION_SAMPLING = [
    ("i3d_r50_32x2", 32, 2),
    ("r2plus1d_r34_8x8", 8, 8),
    ("r2plus1d_r34_32x2", 32, 2),
    *((name, 32, 2) for name in list_models() if name.startswith("slowfast_") and "mma" in name),
]


def clip_for(name: str, batch: int = 1) -> torch.Tensor:
    frames, side_px = LARGER.get(name, (FRAMES, SIDE_PX))
    return torch.randn(batch, 3, frames, side_px, side_px)


def enliven(model: nn.Module) -> nn.Module:
    """Give every norm and branch a scale: none is dead, as it is at the start of training."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    for name, parameter in model.named_parameters():
        if name.endswith(".alpha"):
            nn.init.constant_(parameter, 0.5)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_forward(name: str) -> None:
    model = create_model(name, weights="random", num_classes=7)
    assert not model.training
    with torch.no_grad():
        logits = model(clip_for(name, batch=2))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_receives_a_gradient(name: str) -> None:
    model = enliven(create_model(name, weights="random", num_classes=7)).train()
    loss = nn.functional.cross_entropy(model(clip_for(name, batch=2)), torch.tensor([1, 4]))
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", slow_but(list_models(), "camera_motion", "x3d_xs"))
def test_models_can_be_exported(name: str) -> None:
    model = enliven(create_model(name, weights="random", num_classes=7))
    clip = clip_for(name)
    exported = torch.export.export(model, (clip,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(clip), model(clip))


@pytest.mark.parametrize("name", slow_but(list_models(), "camera_motion"))
def test_models_compile_without_graph_breaks(name: str) -> None:
    model = enliven(create_model(name, weights="random", num_classes=7))
    clip = clip_for(name)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="eager")(clip)
        torch.testing.assert_close(compiled, model(clip))


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_a_complete_card(name: str) -> None:
    card = get_card(name)
    assert card.name == name
    assert card.clip_frames >= 1
    assert card.rate_hz > 0
    assert card.short_side_px >= card.crop_px
    assert card.summary
    assert card.licence
    assert all(0 < value <= 100 for value in card.published_accuracy.values())


def test_x3d_cards_have_the_published_values() -> None:
    cards = {name: get_card(f"x3d_{name}") for name in ("xs", "s", "m", "l")}
    assert [card.clip_frames for card in cards.values()] == [4, 13, 16, 16]
    assert [card.rate_hz for card in cards.values()] == [2.5, 5, 6, 6]
    assert [card.crop_px for card in cards.values()] == [160, 160, 224, 312]
    assert [card.short_side_px for card in cards.values()] == [182, 182, 256, 356]
    assert cards["m"].published_accuracy["Kinetics-400 top-1, 30 views"] == 76.2


def test_resnet_cards_have_the_published_values() -> None:
    """Frames x rate as published: a rate of r means every r-th frame of 30 a second."""
    sampling = {
        name: (card.clip_frames, 30 / card.rate_hz, card.crop_px, card.short_side_px)
        for name in ("i3d_r50", "slow_r50", "slowfast_r50_4x16", "slowfast_r50_8x8", "r2plus1d_r50")
        for card in [get_card(name)]
    }
    assert sampling == {
        "i3d_r50": (8, 8, 224, 256),
        "slow_r50": (8, 8, 224, 256),
        "slowfast_r50_4x16": (32, 2, 224, 256),
        "slowfast_r50_8x8": (32, 2, 224, 256),
        "r2plus1d_r50": (16, 4, 224, 256),
    }


def test_mmaction_cards_have_the_published_values() -> None:
    """Frames x interval of its configurations, at 30 frames a second; pixels from 0 to 255."""
    for name, frames, interval in MMACTION_SAMPLING:
        card = get_card(name)
        assert (card.clip_frames, 30 / card.rate_hz) == (frames, interval), name
        assert (card.crop_px, card.short_side_px) == (224, 256), name
        assert [255 * value for value in card.mean] == pytest.approx([123.675, 116.28, 103.53])
        assert [255 * value for value in card.std] == pytest.approx([58.395, 57.12, 57.375])


def test_r2plus1d_s_card_has_the_published_values() -> None:
    card = get_card("r2plus1d_18")
    assert (card.clip_frames, card.rate_hz, card.crop_px) == (16, 15, 112)
    assert card.resize_px == (128, 171)
    assert not card.antialias
    assert card.mean == (0.43216, 0.394666, 0.37645)
    assert card.std == (0.22803, 0.22145, 0.216989)


def test_an_unknown_model_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownModelError, match="x3d_m"):
        create_model("x3dm")
    with pytest.raises(UnknownModelError, match=r"known are c2d_r50, .* and \d+ more; `co3d"):
        get_card("zzzzzz")


def test_a_name_can_be_registered_only_once() -> None:
    with pytest.raises(OptionError, match="taken"):
        register_model(get_card("x3d_s"))(lambda: None)


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        create_model("x3d_s", weights="random", **options)


def test_dropout_reaches_the_head() -> None:
    assert create_model("x3d_s", dropout=0.25).head.dropout.p == 0.25


def test_random_weights_have_no_labels() -> None:
    assert create_model("x3d_s").card.labels == ()


def test_bundled_weights_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    bundled = create_model("x3d_s")
    save_weights(bundled, tmp_path / "assets" / "mine.safetensors")
    card, builder = registry._ENTRIES["x3d_s"]
    card = dataclasses.replace(card, bundled_weights="mine.safetensors")
    monkeypatch.setitem(registry._ENTRIES, "x3d_s", (card, builder))
    monkeypatch.setattr(registry.resources, "files", lambda package: tmp_path)
    weight = create_model("x3d_s").head.hidden.weight
    assert torch.equal(weight, bundled.head.hidden.weight)
    assert not torch.equal(create_model("x3d_s", "random").head.hidden.weight, weight)


@pytest.mark.parametrize("weights", ["kinetics999", "kinetics600"])
def test_unknown_tag_lists_the_tags(weights: str) -> None:
    with pytest.raises(UnknownModelError, match="kinetics400"):
        create_model("x3d_s", weights=weights)


@pytest.mark.parametrize("weights", ["absent.pyth", "folder/absent", Path("absent")])
def test_an_absent_weight_file_is_reported(weights: str | Path) -> None:
    with pytest.raises(WeightError, match="No such file"):
        create_model("x3d_s", weights=weights)


def test_the_name_of_a_published_file_implies_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "x3d_s.pyth"
    torch.save({"model_state": create_model("x3d_s").state_dict()}, path)
    labels = create_model("x3d_s", weights=path).card.labels
    assert len(labels) == 400
    assert labels[0] == "abseiling"
    assert labels[-1] == "zumba"


def test_new_classes_replace_the_head_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x3d_s.pyth"
    original = create_model("x3d_s")
    torch.save({"model_state": original.state_dict()}, path)
    with caplog.at_level(logging.WARNING, logger="co3d"):
        model = create_model("x3d_s", weights=path, num_classes=7)
    assert model.card.labels == ()
    assert torch.equal(model.head.hidden.weight, original.head.hidden.weight)
    assert model.head.classifier.weight.shape == (7, 2048)
    assert "head.classifier" in caplog.text


def test_new_classes_keep_a_head_that_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.safetensors"
    tuned = create_model("x3d_s", num_classes=2)
    save_weights(tuned, path, {"labels": '["jump", "run"]'})
    model = create_model("x3d_s", weights=path, num_classes=2)
    assert torch.equal(model.head.classifier.weight, tuned.head.classifier.weight)
    assert model.card.labels == ("jump", "run")
    assert caplog.text == ""


def small_slow(num_classes: int = 400, dropout: float = 0.5) -> ClipModel:
    """Slow with hardly a channel, so that its files are small."""
    model = create_model("x3d_xs", weights="random", num_classes=num_classes)
    model.head.dropout.p = dropout
    return model


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = registry._ENTRIES["slow_r50"]
    monkeypatch.setitem(registry._ENTRIES, "slow_r50", (card, small_slow))


@pytest.mark.parametrize(
    ("num_classes", "first", "activation"),
    [(400, "abseiling", "softmax"), (157, "Holding some clothes", "sigmoid")],
)
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.usefixtures("slow")
def test_the_number_of_classes_tells_published_files_of_one_name_apart(
    tmp_path: Path, num_classes: int, first: str, activation: str, given: bool
) -> None:
    path = tmp_path / "SLOW_8x8_R50.pyth"
    torch.save({"model_state": small_slow(num_classes).state_dict()}, path)
    model = create_model("slow_r50", path, num_classes=num_classes if given else None)
    assert len(model.card.labels) == num_classes
    assert model.card.labels[0] == first
    assert model.card.activation == activation


def test_the_number_of_classes_comes_from_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(create_model("x3d_s", num_classes=3), path)
    model = create_model("x3d_s", weights=path)
    assert model.head.classifier.weight.shape == (3, 2048)
    assert model.card.labels == ()


@pytest.mark.parametrize("shape", [(0, 2048), ()])
def test_a_classifier_without_rows_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "mine.pth"
    state = create_model("x3d_s").state_dict()
    torch.save(state | {"head.classifier.weight": torch.zeros(shape)}, path)
    with pytest.raises(WeightError, match=r"head.classifier.weight has shape"):
        create_model("x3d_s", weights=path)


def test_a_weight_file_contains_its_card(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    model = create_model("x3d_s", num_classes=2)
    card = dataclasses.replace(
        model.card, labels=("jump", "run"), activation="sigmoid", licence="MIT"
    )
    save_weights(model, path, write_description(card))
    assert create_model("x3d_s", weights=path).card == card


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("slowfast_r50_8x8_steplr_mmaction", "slowfast_r50_8x8"),
        ("i3d_r50", "i3d_r50_32x2"),
    ],
)
def test_our_own_file_of_another_network_with_the_same_tensors_is_refused(
    written: str, read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STAGE_DEPTHS, 50, (1, 1, 1, 1))
    path = tmp_path / "theirs.safetensors"
    model = create_model(written, weights="random", num_classes=5)
    save_weights(model, path, write_description(model.card))
    assert create_model(written, weights=path).card == model.card
    with pytest.raises(WeightError, match=f"weights of {written}.*: choose that model"):
        create_model(read, weights=path)


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(create_model("x3d_s", num_classes=2), path, {"activation": "exp"})
    with pytest.raises(WeightError, match="activation"):
        create_model("x3d_s", weights=path)


@pytest.mark.parametrize("labels", ["jump, run", '{"jump": 0}', "[1, 2]", "[" * 100_000])
def test_labels_in_a_file_are_checked(tmp_path: Path, labels: str) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(create_model("x3d_s", num_classes=2), path, {"labels": labels})
    with pytest.raises(WeightError, match="labels"):
        create_model("x3d_s", weights=path, num_classes=2)


def test_a_file_of_another_model_names_the_models_that_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "x3d_s.pyth"
    torch.save(create_model("x3d_s").state_dict(), path)
    with pytest.raises(WeightError, match="all of them fit x3d_xs or x3d_s or x3d_m: choose"):
        create_model("x3d_l", weights=path)
