"""Networks of several inputs and outputs, stepped as a stream steps them, against their clips."""

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from co3d.compiler import StepProgram
from co3d.runtime import open_stream
from support.streaming import first_result, randomise_, relative_error, result_stride
from zoo.family import Family

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)


def make_network(family: Family) -> nn.Module:
    """One of the family, in double precision, with weights that let its input through."""
    torch.manual_seed(0)
    model = randomise_(family.make().double())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _CONVOLUTIONS):
                # What a fresh layer loses of its input's variance.
                module.weight.mul_(2)
            elif isinstance(module, nn.Linear):
                # Wide layers would leave a softmax behind them no choice.
                module.weight.mul_(min(1.0, 6 / module.in_features**0.5))
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    return model


def make_clips(family: Family, frames: int, seed: int = 1) -> list[Tensor]:
    """Signed random clips (1, C, T, H, W), one per input."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn((1, c, frames, *space), generator=generator, dtype=torch.float64)
        for c, _, *space in family.clips
    ]


def run_clip(network: nn.Module, clips: list[Tensor]) -> list[Tensor]:
    """A clip network's outputs, without their batch."""
    with torch.inference_mode():
        return [leaf[0] for leaf in tree_leaves(network(*clips))]


def run_stream(program: StepProgram, videos: list[list[Tensor]]) -> list[list[list[Tensor]]]:
    """Step a slot per video, flush each when it ends: per slot, per result, per output.

    Slots that have ended see garbage.
    """
    lengths = [video[0].shape[2] for video in videos]
    results: list[list[list[Tensor]]] = [[] for _ in videos]
    with open_stream(program, backend="torch", precision="float64", slots=len(videos)) as stream:
        for step in range(max(lengths)):
            frames = [
                torch.cat(
                    [
                        v[i][:, :, step] if step < n else torch.full_like(v[i][:, :, 0], 1e3)
                        for v, n in zip(videos, lengths, strict=True)
                    ]
                )
                for i in range(len(program.frame_shapes))
            ]
            active = torch.tensor([step < n for n in lengths])
            made = [(stream.step(frames if len(frames) > 1 else frames[0], active=active), None)]
            for slot, n in enumerate(lengths):
                if n == step + 1:
                    made += [(result, slot) for result in stream.flush(slot)]
            for result, only in made:
                for slot in range(len(videos)):
                    if result.fresh[slot] and only in (None, slot):
                        results[slot].append([leaf[slot] for leaf in tree_leaves(result.output)])
    return results


def worst_error(
    program: StepProgram,
    family: Family,
    results: list[list[Tensor]],
    expected: list[Tensor],
) -> float:
    """Largest relative error of one slot's results: of every element where outputs have them."""
    axes = family.time_axes if isinstance(family.time_axes, tuple) else (family.time_axes,)
    if len(axes) < len(expected):
        axes *= len(expected)
    worst = 0.0
    for i, (axis, wanted) in enumerate(zip(axes, expected, strict=True)):
        made = [leaves[i] for leaves in results]
        if axis is None or program.fallbacks:
            actual = made[-1]
        else:
            actual = torch.stack(made[first_result(program) :: result_stride(program)], axis)
        assert actual.shape == wanted.shape
        worst = max(worst, relative_error(actual, wanted))
    return worst
