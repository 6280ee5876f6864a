"""Loading is all or nothing, and says exactly what does not fit."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from co3d.errors import OutputError, WeightError
from co3d.weights import Checkpoint, load_weights, read_checkpoint, save_weights


def network(width: int = 4, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, outputs))


def state(model: nn.Module | None = None) -> dict[str, torch.Tensor]:
    return {
        k: torch.rand_like(v.float()).to(v.dtype)
        for k, v in (model or network()).state_dict().items()
    }


def checkpoint(tensors: dict[str, torch.Tensor]) -> Checkpoint:
    return Checkpoint("file", tensors)


def test_saved_weights_survive_a_round_trip(tmp_path: Path) -> None:
    path, original, copy = tmp_path / "net.safetensors", network(), network()
    original[1].running_mean.fill_(3)
    save_weights(original, path, {"labels": "[]"})
    load_weights(copy, path)
    for name, tensor in original.state_dict().items():
        assert torch.equal(copy.state_dict()[name], tensor), name
    assert read_checkpoint(path).metadata == {"labels": "[]"}
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    original, text = network(), dict.fromkeys("abcdefgh", "ä\n")
    for name in "xy":
        save_weights(original, tmp_path / name, text)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert read_checkpoint(tmp_path / "x").metadata == text
    save_weights(original, tmp_path / "x")
    assert read_checkpoint(tmp_path / "x").metadata == {}


def test_saving_to_an_absent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*choose a folder"):
        save_weights(network(), tmp_path / "absent" / "net.safetensors")


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.mkdir()
    with pytest.raises(OutputError):
        save_weights(network(), path)
    assert list(tmp_path.iterdir()) == [path]


def test_batch_norm_counters_are_optional() -> None:
    tensors = state()
    del tensors["1.num_batches_tracked"]
    model = network()
    load_weights(model, checkpoint(tensors))
    assert torch.equal(model[0].weight, tensors["0.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.weight"), "1 problems: 0.weight missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra left over"),
        (
            lambda s: s.update({"0.bias": torch.zeros(5)}),
            r"0.bias has shape \(5,\), expected \(4,\)",
        ),
        (
            lambda s: s.update({"0.bias": torch.zeros(4, dtype=torch.int32)}),
            "0.bias is torch.int32",
        ),
        (lambda s: s.update({"0.bias": torch.zeros(4).cfloat()}), "0.bias is torch.complex64"),
        (
            lambda s: s.update({"0.bias": torch.zeros(4).to(torch.float8_e4m3fn)}),
            "0.bias is torch.float8_e4m3fn",
        ),
        (lambda s: s.update({"1.num_batches_tracked": torch.tensor(1.5)}), "expected torch.int64"),
    ],
)
def test_mismatches_are_named_and_the_network_is_unchanged(change, message: str) -> None:
    model, tensors = network(), state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    change(tensors)
    with pytest.raises(WeightError, match=message):
        load_weights(model, checkpoint(tensors))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_long_lists_are_shortened_with_a_count() -> None:
    tensors = state() | {f"extra{i:02}": torch.zeros(1) for i in range(30)}
    with pytest.raises(WeightError, match=r"30 problems: extra00 .*extra19 left over, and 10 more"):
        load_weights(network(), checkpoint(tensors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_cast(dtype: torch.dtype) -> None:
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state().items()}
    model = network()
    load_weights(model, checkpoint(tensors))
    assert model[0].weight.dtype == torch.float32
    assert torch.equal(model[0].weight, tensors["0.weight"].float())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_named(value: float, caplog: pytest.LogCaptureFixture) -> None:
    tensors = state()
    tensors["1.running_var"][2] = value
    with caplog.at_level(logging.WARNING, logger="co3d"):
        load_weights(network(), checkpoint(tensors))
    assert "1.running_var holds NaN or infinite" in caplog.text


def test_a_replaceable_part_of_another_shape_keeps_its_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, tensors = network(outputs=2), state()
    kept = model[2].weight.clone()
    with caplog.at_level(logging.WARNING, logger="co3d"):
        load_weights(model, checkpoint(tensors), replaceable="2")
    assert torch.equal(model[2].weight, kept)
    assert torch.equal(model[0].weight, tensors["0.weight"])
    assert "2 has another number of classes" in caplog.text
    with pytest.raises(WeightError, match=r"2\.weight has shape"):
        load_weights(model, checkpoint(tensors))


def test_registered_networks_that_match_better_are_suggested() -> None:
    others = {"wide": lambda: network(8), "wider": lambda: network(16), "twin": lambda: network(8)}
    with pytest.raises(WeightError, match="all of them fit wide or twin: choose"):
        load_weights(network(), checkpoint(state(network(8))), others=others)
    almost = state(network(8)) | {"extra": torch.zeros(1)}
    with pytest.raises(WeightError, match="with 1 problems they come closest to wide or twin"):
        load_weights(network(), checkpoint(almost), others=others)
    with pytest.raises(WeightError, match="check that the file belongs"):
        load_weights(network(), checkpoint({"x": torch.zeros(1)}), others=others)


PREFIXES = ("", "module.", "model.", "net.", "module.model.", "model._orig_mod.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
def test_prefixes_of_training_code_are_removed(tmp_path: Path, name: str, prefix: str) -> None:
    tensors, model = state(), network()
    prefixed = {prefix + key: value for key, value in tensors.items()}
    save = save_file if name.endswith("safetensors") else torch.save
    save(prefixed, tmp_path / name)
    load_weights(model, tmp_path / name)
    assert all(torch.equal(model.state_dict()[key], tensors[key]) for key in tensors)


def test_a_submodule_may_be_named_like_such_a_prefix() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

    model, tensors = Wrapped(), state(Wrapped())
    load_weights(model, checkpoint(tensors))
    assert torch.equal(model.model[0].weight, tensors["model.0.weight"])
    load_weights(network(), checkpoint(tensors))


def test_losses_and_metrics_are_skipped_with_a_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tensors = {f"model.{key}": value for key, value in state().items()}
    extra = {"criterion.weight": torch.ones(9), "val_acc.total": torch.tensor(3)}
    with caplog.at_level(logging.WARNING, logger="co3d"):
        load_weights(network(), checkpoint({**tensors, **extra}))
    assert "left out what is not the network's: criterion.weight, val_acc.total" in caplog.text
    del tensors["model.0.weight"]
    with pytest.raises(WeightError, match=r"criterion\.weight left over.* 0\.weight missing"):
        load_weights(network(), checkpoint({**tensors, **extra}))
    with pytest.raises(WeightError, match=r"model\.spare left over"):
        load_weights(network(), checkpoint({**state(), "model.spare": torch.ones(1)}))


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("backbone.layer1.{}.conv1.conv.weight", "mmaction2"),
        ("blocks.1.res_blocks.{}.branch2.conv_a.weight", "PyTorchVideo"),
        ("s2.pathway0_res{}.branch2.a.weight", "PySlowFast"),
        ("module.s2.pathway0_res{}.branch2.a.weight", "PySlowFast"),
        ("encoder.blocks.{}.attn.qkv.weight", "VideoMAE"),
        ("layer1.{}.conv1.0.weight", "torchvision's VideoResNet"),
    ],
)
def test_advice_names_the_family_of_unknown_keys(key: str, family: str) -> None:
    others = {"tiny": lambda: nn.Sequential(nn.Linear(1, 1))}
    tensors = {key.format(n): torch.zeros(3, 3) for n in range(30)}
    first = next(iter(tensors))
    with pytest.raises(WeightError) as info:
        load_weights(network(), checkpoint(tensors), others=others)
    assert f"its keys, such as {first}, " in str(info.value)
    assert f"look like those of {family}" in str(info.value)
    assert "choose that model" not in str(info.value)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("roi_head.bbox_head.fc_cls.weight", "classifies boxes of a frame"),
        ("module.roi_head.bbox_head.fc_cls.weight", "classifies boxes of a frame"),
        ("cls_head.fc2d.4.weight", "two classifiers"),
    ],
)
def test_a_head_that_no_network_has_is_the_reason(key: str, reason: str) -> None:
    with pytest.raises(WeightError, match=f"{reason}.*convert the network as your own"):
        load_weights(network(), checkpoint({key: torch.zeros(1)}))


def test_unrecognised_keys_are_shown() -> None:
    with pytest.raises(WeightError, match="such as x, are like those of no library known"):
        load_weights(network(), checkpoint({"x": torch.zeros(1)}))


def test_blobs_may_lack_trailing_ones() -> None:
    model = nn.Module()
    model.trunk = nn.Module()
    model.trunk.stem = nn.Module()
    model.trunk.stem.conv = nn.Conv3d(2, 4, 1, bias=False)
    tensors = {"conv1_w": torch.randn(4, 2), "lr": torch.zeros(3), "model_iter": torch.tensor(5)}
    load_weights(model, checkpoint(tensors))
    assert torch.equal(model.trunk.stem.conv.weight.flatten(1), tensors["conv1_w"])
    with pytest.raises(WeightError, match="shape"):
        load_weights(model, checkpoint({"conv1_w": torch.randn(4)}))
    with pytest.raises(WeightError, match="shape"):
        load_weights(model, checkpoint({"trunk.stem.conv.weight": torch.randn(4, 2)}))
