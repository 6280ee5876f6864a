"""Compares a network with its graph after the exact passes, which must not change its outputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from co3d.compiler.capture import EXPORT_BATCH, ClipShape, capture
from co3d.compiler.packing import list_tensors
from co3d.compiler.pipeline import run_exact_passes
from co3d.parity.elements import relative_difference, scale_of


def compare_simplified(
    network: nn.Module, shapes: Sequence[ClipShape], dtype: torch.dtype, *, fallback: bool
) -> float:
    """Largest relative difference between a network and its graph after the exact passes."""
    clip_graph = capture(network, shapes, free_batch=fallback).clip_graph
    run_exact_passes(clip_graph)
    clip_graph.recompile()
    clips = random_clips(shapes, shapes[0][1], dtype, batch=EXPORT_BATCH)
    with torch.inference_mode():
        # The network runs last, because it may change its buffers.
        return compare_outputs(list_tensors(clip_graph(*clips)), list_tensors(network(*clips)))


def compare_outputs(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest relative difference between outputs, in order."""
    pairs = zip(outputs, expected, strict=True)
    return max(relative_difference(a, b, scale_of(b)) for a, b in pairs)


def random_clips(
    shapes: Sequence[ClipShape],
    frames: int,
    dtype: torch.dtype,
    batch: int = 1,
    seed: int = 0,
) -> list[Tensor]:
    """Signed random clips, one per input; they depend on the number of frames and the seed."""
    generator = torch.Generator().manual_seed(frames + 10_007 * seed)
    return [
        torch.randn(
            (batch, shape[0], frames, *shape[2:]), generator=generator, dtype=torch.float64
        ).to(dtype)
        for shape in shapes
    ]
