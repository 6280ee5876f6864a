"""Slow, I3D, SlowFast and R(2+1)D: shapes, refusals, depth, frame picking and initial values."""

import pytest
import torch
from torch import nn

from co3d.errors import InputShapeError, OptionError
from co3d.models import create_model
from co3d.models.i3d import I3D
from co3d.models.resnet3d import Bottleneck
from co3d.models.slow import Slow, slow_r50
from co3d.models.slowfast import SlowFast, pick_slow_frames, slowfast_r50_8x8

RESNETS = ["i3d_r50", "slow_r50", "slowfast_r50_4x16", "slowfast_r50_8x8", "r2plus1d_18"]


@pytest.fixture(scope="module", params=RESNETS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return create_model(request.param, weights="random", num_classes=5)


@pytest.mark.parametrize("shape", [(1, 3, 2, 32, 32), (2, 3, 5, 33, 47), (1, 3, 13, 40, 32)])
def test_clips_of_any_length_and_size_are_accepted(
    model: nn.Module, shape: tuple[int, ...]
) -> None:
    with torch.no_grad():
        logits = model(torch.randn(shape))
    assert logits.shape == (shape[0], 5)
    assert torch.isfinite(logits).all()


def test_clips_shorter_than_the_least_length_are_refused(model: nn.Module) -> None:
    frames = 2 if isinstance(model, I3D) else 1
    with torch.no_grad():
        assert model(torch.randn(1, 3, frames, 32, 32)).shape == (1, 5)
    with pytest.raises(InputShapeError, match=f"T >= {frames} frames"):
        model(torch.randn(1, 3, frames - 1, 32, 32))


def test_an_i3d_that_halves_time_thrice_takes_five_frames() -> None:
    network = create_model("i3d_r50_32x2", weights="random", num_classes=5)
    with torch.no_grad():
        assert network(torch.randn(1, 3, 5, 32, 32)).shape == (1, 5)
    with pytest.raises(InputShapeError, match="T >= 5 frames"):
        network(torch.randn(1, 3, 4, 32, 32))


def test_a_small_frame_is_refused(model: nn.Module) -> None:
    with pytest.raises(InputShapeError, match="scale the frames up"):
        model(torch.zeros(1, 3, 4, 15, 64))


@pytest.mark.parametrize(
    ("frames", "alpha", "expected"),
    [
        (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]),
        (32, 8, [0, 10, 20, 31]),
        (8, 8, [0]),
        (1, 4, [0]),
        (5, 4, [0, 4]),
    ],
)
def test_slow_frames(frames: int, alpha: int, expected: list[int]) -> None:
    assert pick_slow_frames(frames, alpha) == expected


@pytest.mark.parametrize("alpha", [4, 8])
def test_slow_frames_equal_a_linspace_over_the_clip(alpha: int) -> None:
    for frames in range(alpha, 129, alpha):
        expected = torch.linspace(0, frames - 1, frames // alpha).long().tolist()
        assert pick_slow_frames(frames, alpha) == expected


def test_the_fast_pathway_sees_every_frame() -> None:
    torch.manual_seed(0)
    model = create_model("slowfast_r50_8x8", weights="random", num_classes=5)
    clip = torch.randn(1, 3, 8, 32, 32)  # the slow pathway sees frames 0 and 7
    changed = clip.clone()
    changed[:, :, 3] += 1
    seen: dict[str, torch.Tensor] = {}
    for name in ("slow", "fast"):
        stem = getattr(model, name).stem
        stem.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
    with torch.no_grad():
        model(clip)
        before = dict(seen)
        model(changed)
    assert torch.equal(seen["slow"], before["slow"])
    assert not torch.equal(seen["fast"], before["fast"])


def test_depth_101_is_built_and_other_depths_are_refused() -> None:
    with torch.device("meta"):
        blocks = [m for m in slow_r50(depth=101).modules() if isinstance(m, Bottleneck)]
        both = [m for m in slowfast_r50_8x8(depth=101).modules() if isinstance(m, Bottleneck)]
    assert len(blocks) == 33
    assert len(both) == 66
    for build in (Slow, I3D, lambda depth: SlowFast(4, 7, depth)):
        with pytest.raises(OptionError, match="expected 50 or 101"):
            build(depth=18)


def test_branches_start_at_zero_except_in_r2plus1d() -> None:
    slow = create_model("slow_r50", weights="random")
    assert not any(b.expand_norm.weight.any() for b in slow.trunk.res2)
    assert all(b.reduce_norm.weight.all() for b in slow.trunk.res2)
    assert slow.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    factorised = create_model("r2plus1d_18", weights="random")
    assert all(b.norm2.weight.all() for stage in factorised.stages for b in stage)


def test_dropout_equals_the_paper_s() -> None:
    rates = {name: create_model(name, weights="random").get_submodule("") for name in RESNETS[:2]}
    assert all(model.head.dropout.p == 0.5 for model in rates.values())
    assert create_model("r2plus1d_18", weights="random", dropout=0.3).dropout.p == 0.3
