"""X3D frame by frame equals X3D on the clip, once its gates pool each frame."""

import copy

import pytest
import torch
from torch import Tensor, nn

from co3d.models import create_model
from co3d.models.x3d import SqueezeExcite
from co3d.stream import StepProgram, convert
from support.streaming import make_clips, randomise_, relative_error, run_steps

SIDE = 33  # odd, and small enough to be quick: the last maps are 2 x 2
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


class FrameSqueezeExcite(SqueezeExcite):
    """The gate as a stream has it: written by hand, so that the rewrite is not its own judge."""

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((3, 4), keepdim=True)
        return x * self.restore(self.reduce(gate).relu()).sigmoid()


class Features(nn.Module):
    """What the final pool of an X3D reads, per frame."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.stem, self.stages, self.head = model.stem, model.stages, model.head

    def forward(self, clip: Tensor) -> Tensor:
        return self.head.expand_norm(self.head.expand(self.stages(self.stem(clip)))).relu()


def _network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return randomise_(create_model(name, weights="random")).double()


def _reference(model: nn.Module) -> nn.Module:
    """The clip network with a gate per frame."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, SqueezeExcite):
            module.__class__ = FrameSqueezeExcite
    return model


def _worst_error(
    program: StepProgram, reference: nn.Module, lengths: list[int], dtype: torch.dtype
) -> float:
    clips = make_clips(lengths, program.frame_shape, dtype)
    outputs = run_steps(program, clips, dtype)
    reference = copy.deepcopy(reference).to(dtype)
    worst = 0.0
    with torch.inference_mode():
        for clip, results in zip(clips, outputs, strict=True):
            expected = reference(clip[None])[0]
            if program.window is None:
                actual = torch.stack(results[program.delay :], 1)
            else:
                actual = results[-1]
            assert actual.shape == expected.shape
            worst = max(worst, relative_error(actual, expected))
    return worst


@pytest.mark.parametrize("name", ["x3d_xs", "x3d_s", "x3d_m", "x3d_l"])
def test_logits_of_ragged_batch(name: str) -> None:
    model = _network(name)
    frames = model.card.clip_frames
    program = convert(model, (3, frames, SIDE, SIDE), edges="both", window=frames)
    for dtype, tolerance in TOLERANCE.items():
        lengths = [frames, frames - 3]
        assert _worst_error(program, _reference(model), lengths, dtype) <= tolerance


def test_features_of_every_frame() -> None:
    trunk = Features(_network("x3d_s"))
    program = convert(trunk, (3, 13, SIDE, SIDE), edges="both")
    for dtype, tolerance in TOLERANCE.items():
        assert _worst_error(program, _reference(trunk), [13, 7], dtype) <= tolerance


def test_steady_features_equal_the_interior_of_a_long_clip() -> None:
    trunk = Features(_network("x3d_xs"))
    program = convert(trunk, (3, 4, SIDE, SIDE), edges="none")
    (clip,) = make_clips([64], program.frame_shape, torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = _reference(trunk)(clip[None])[0]
    settled = range(program.receptive_field - 1, 64)
    assert len(settled) >= 5
    for step in settled:
        assert relative_error(outputs[step], expected[:, step - program.delay]) <= 1e-10


def test_rewritten_gates_are_listed_and_differ_from_the_original() -> None:
    model = _network("x3d_xs")
    program = convert(model, (3, 4, SIDE, SIDE), edges="both")
    gates = sum(isinstance(module, SqueezeExcite) for module in model.modules())
    assert len(program.approximations) == gates == 15
    (clip,) = make_clips([4], program.frame_shape, torch.float64)
    with torch.inference_mode():
        rewritten = program.clip_graph(clip[None])
        assert relative_error(rewritten, _reference(model)(clip[None])) <= 1e-10
        assert 1e-6 < relative_error(rewritten, model(clip[None])) < 0.5
