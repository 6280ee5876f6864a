"""Training through the step program: its gradients are those of the clip network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler.trainable import TrainableProgram, convert_trainable
from co3d.models.camera_motion import CameraMotionNet
from co3d.models.x3d import X3D
from support.networks import Classifier, Residual, small_network, stem
from support.streaming import make_clips, randomise_

FRAMES = 7


def clips_for(channels: int = 3, frames: int = FRAMES, side: int = 12, count: int = 2) -> Tensor:
    return torch.stack(make_clips([frames] * count, (channels, side, side), torch.float64))


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def weigh_outputs(logits: Tensor) -> Tensor:
    """A loss that weights every output of every clip differently."""
    weights = torch.linspace(-1, 1.3, logits.numel(), dtype=logits.dtype).view_as(logits)
    return (logits * weights).sum() + F.cross_entropy(logits, torch.arange(len(logits)))


def step_through(live: TrainableProgram, model: nn.Module, clips: Tensor) -> Tensor:
    """Logits of whole clips, by steps and a flush, in two chunks."""
    frames = torch.cat(
        (clips, torch.full_like(clips[:, :, :1], 9).repeat_interleave(live.program.delay, 2)), 2
    )
    weights = live.derive(model)
    last = clips.shape[2] - 1
    outputs, state = live.run(frames[:, :, :3], weights, last_frame=last)
    outputs, state = live.run(frames[:, :, 3:], weights, state, last_frame=last)
    return outputs[:, -1]


NETWORKS = {
    "small, with a gate": small_network,
    "residuals": lambda: Classifier(stem(), Residual(), nn.MaxPool3d(3, 1, 1), Residual(kernel=5)),
    "camera_motion": lambda: CameraMotionNet(widths=(4, 6, 8, 8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_through_steps_equal_those_through_the_clip(name):
    model = randomise_(NETWORKS[name]().double())
    side = 32 if name == "camera_motion" else 12
    clips = clips_for(side=side)
    live = convert_trainable(model, (3, FRAMES, side, side), edges="both")
    through_clip = live.run_clip(clips, live.derive(model))
    through_steps = step_through(live, model, clips)
    torch.testing.assert_close(through_steps, through_clip, rtol=1e-9, atol=1e-11)
    expected = gradients(model, weigh_outputs(through_clip))
    got = gradients(model, weigh_outputs(through_steps))
    assert got.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for key, gradient in expected.items():
        assert gradient.abs().max() > 1e-9, f"{key} has no gradient to compare"
        torch.testing.assert_close(got[key], gradient, rtol=1e-7, atol=1e-10, msg=key)
    if not live.program.approximations:
        own = gradients(model, weigh_outputs(model(clips)))
        for key, gradient in own.items():
            torch.testing.assert_close(got[key], gradient, rtol=1e-7, atol=1e-10, msg=key)


@pytest.mark.slow
def test_gradients_through_the_steps_of_x3d():
    model = randomise_(X3D(0.5, 32, num_classes=5).double())
    clips = clips_for(frames=4, side=32)
    live = convert_trainable(model, (3, 4, 32, 32), edges="both")
    expected = gradients(model, weigh_outputs(live.run_clip(clips, live.derive(model))))
    got = gradients(model, weigh_outputs(step_through(live, model, clips)))
    assert got.keys() == dict(model.named_parameters()).keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(got[key], gradient, rtol=1e-6, atol=1e-9, msg=key)


def test_steps_use_the_current_weights():
    model = randomise_(small_network().double())
    live = convert_trainable(model, (3, FRAMES, 12, 12), edges="both")
    clips = clips_for()
    before = step_through(live, model, clips)
    changed = randomise_(copy.deepcopy(model), seed=3)
    after = step_through(live, changed, clips)
    again = convert_trainable(changed, (3, FRAMES, 12, 12), edges="both")
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, step_through(again, changed, clips))


def test_steps_equal_those_of_the_ordinary_program():
    model = randomise_(CameraMotionNet(widths=(4, 4, 4, 4)))
    live = convert_trainable(model, (3, 8, 32, 32), window=4)
    program = co3d.convert(model, (3, 8, 32, 32), window=4)
    assert repr(live.program) == repr(program)
    clips = clips_for(frames=14, side=32).float()
    with torch.no_grad():
        outputs, state = live.run(clips, live.derive(model))
    stream = co3d.open_stream(program, backend="torch", slots=2)
    for step, frames in enumerate(clips.unbind(2)):
        torch.testing.assert_close(outputs[:, step], stream.step(frames).output)
    assert state.age == 14


def test_truncation_ends_gradients_where_a_chunk_begins():
    model = randomise_(CameraMotionNet(widths=(4, 4, 4, 4)).double())
    live = convert_trainable(model, (3, 8, 32, 32))
    clips = clips_for(frames=8, side=32).requires_grad_()
    weights = live.derive(model)
    _, state = live.run(clips[:, :, :4], weights)
    outputs, _ = live.run(clips[:, :, 4:], weights, state.detach())
    (gradient,) = torch.autograd.grad(outputs.sum(), clips)
    assert not gradient[:, :, :4].any()
    assert gradient[:, :, 4].any()
