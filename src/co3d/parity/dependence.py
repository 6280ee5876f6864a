"""Measures whether results depend on the clip; if they do not, their equality proves nothing."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from co3d.compiler.capture import ClipShape
from co3d.compiler.packing import list_tensors
from co3d.compiler.program import StepProgram
from co3d.parity.elements import relative_difference, scale_of
from co3d.parity.outputs import run_streams
from co3d.parity.simplified import random_clips


def run_network(network: nn.Module, clips: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of a copy of a network, so that buffers that it changes are not kept."""
    shared = {id(parameter): parameter for parameter in network.parameters()}
    with torch.inference_mode():
        return list_tensors(copy.deepcopy(network, shared)(*clips))


def _difference(here: Tensor, there: Tensor) -> float:
    """The relative difference; infinite if either has NaN, because it cannot be told then."""
    if here.isnan().any() or there.isnan().any():
        return float("inf")
    return relative_difference(here, there, scale_of(there))


def compare_two_clips(
    network: nn.Module, shapes: Sequence[ClipShape], dtype: torch.dtype
) -> list[float]:
    """The relative difference of each output of a network between two random clips."""
    here, there = (
        run_network(network, random_clips(shapes, shapes[0][1], dtype, seed=seed))
        for seed in (0, 1)
    )
    return [_difference(a, b) for a, b in zip(here, there, strict=True)]


def compare_two_streams(
    program: StepProgram, shapes: Sequence[ClipShape], dtype: torch.dtype
) -> list[float]:
    """The relative difference of each output of a program between two random clips."""
    precision = str(dtype).removeprefix("torch.")
    clips = [
        [clip[0] for clip in random_clips(shapes, shapes[0][1], dtype, seed=seed)]
        for seed in (0, 1)
    ]
    here, there = run_streams(program, clips, precision, lambda: None)
    worst = [0.0] * len(program.output_shapes)
    for tick in here.keys() & there.keys():
        for i, (a, b) in enumerate(zip(here[tick], there[tick], strict=True)):
            worst[i] = max(worst[i], _difference(a, b))
    return worst
