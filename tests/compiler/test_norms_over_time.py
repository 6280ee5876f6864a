"""Norms over a clip: with `scope="window"` they use the statistics of the newest frames."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.newest_frames import normalise_newest
from support.rule_networks import SHAPE
from support.streaming import make_clips, randomise_, relative_error, run_steps

FRAMES = SHAPE[1]
# Far from zero, where a mean square less a square of the mean would lose its digits.
OFFSET = 100.0


def affine(layer: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


NORMS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "groups": (lambda: affine(nn.GroupNorm(2, 4)), 2),
    "one group": (lambda: affine(nn.GroupNorm(1, 4)), 1),
    "without weights": (lambda: nn.GroupNorm(2, 4, affine=False), 2),
    "instances": (lambda: nn.InstanceNorm3d(4), 4),
    "instances, with weights": (lambda: affine(nn.InstanceNorm3d(4, affine=True)), 4),
}


def network(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    model = Apply(
        lambda m, x: m.deep(m.norm(m.stem(x) + OFFSET)),
        stem=stem(),
        deep=nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0)),
        norm=norm,
    )
    return randomise_(model).double()


@pytest.mark.parametrize("name", NORMS)
def test_norms_use_the_statistics_of_the_newest_frames(name: str) -> None:
    make, groups = NORMS[name]
    model = network(make())
    program = convert(model, SHAPE, scope="window", edges="both")
    assert program.approximations == (
        "norm: normalises by the newest frames instead of the whole clip",
    )

    def newest(x: Tensor) -> Tensor:
        y = normalise_newest(model.stem(x) + OFFSET, groups, FRAMES)
        if getattr(model.norm, "weight", None) is not None:
            sizes = 4, 1, 1, 1
            y = y * model.norm.weight.view(sizes) + model.norm.bias.view(sizes)
        return model.deep(y)

    clips = make_clips([FRAMES, 5, 13], (SHAPE[0], *SHAPE[2:]), torch.float64)
    for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
        with torch.inference_mode():
            expected = newest(clip[None])[0]
        assert relative_error(torch.stack(outputs[program.delay :], 1), expected) < 1e-10


def test_a_large_mean_costs_no_precision_in_float32() -> None:
    model = network(nn.InstanceNorm3d(4)).float()
    program = convert(model, SHAPE, scope="window", edges="both")
    (clip,) = make_clips([13], (SHAPE[0], *SHAPE[2:]), torch.float32)
    (outputs,) = run_steps(program, [clip], backend="torch")
    double = model.double()
    with torch.inference_mode():
        y = double.stem(clip[None].double()) + OFFSET
        expected = double.deep(normalise_newest(y, 4, FRAMES))[0]
    error = relative_error(torch.stack(outputs[program.delay :], 1).double(), expected)
    assert error < 1e-3  # what is normalised has itself only 100 / 2**24 of its spread


def test_without_scope_window_a_norm_is_refused_or_rerun() -> None:
    model = network(nn.GroupNorm(2, 4))
    with pytest.raises(ConversionError, match=r'statistics of the whole clip.*scope="window"'):
        convert(model, SHAPE)
    program = convert(model, SHAPE, fallback=True)
    assert not program.approximations
    assert any("statistics of the whole clip" in line for line in program.fallbacks)


def test_gates_after_a_refused_norm_are_rerun_unchanged() -> None:
    model = Apply(
        lambda m, x: m.fc((g := m.norm(m.stem(x))) * g.mean((2, 3, 4), keepdim=True).sigmoid()),
        stem=stem(),
        norm=nn.GroupNorm(2, 4),
        fc=nn.Conv3d(4, 4, 1),
    )
    program = convert(model, SHAPE, fallback=True)
    assert program.fallbacks
    assert not program.approximations


def test_an_instance_norm_with_running_statistics_is_exact() -> None:
    norm = nn.InstanceNorm3d(4, affine=True, track_running_stats=True)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    model = network(norm)
    program = convert(model, SHAPE, edges="both")
    assert not program.approximations
    (clip,) = make_clips([11], (SHAPE[0], *SHAPE[2:]), torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = model(clip[None])[0]
    assert relative_error(torch.stack(outputs[program.delay :], 1), expected) < 1e-10


def test_a_norm_within_frames_is_exact() -> None:
    def per_frame(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x)
        n, c, t, h, w = y.shape
        rows = m.norm(y.transpose(1, 2).reshape(n * t, c, h, w))
        return rows.reshape(n, t, c, h, w).transpose(1, 2)

    model = Apply(per_frame, stem=stem(), norm=nn.GroupNorm(2, 4)).double().eval()
    for scope in ("frame", "window"):
        assert not convert(model, SHAPE, scope=scope).approximations
