"""Past elements as plain tensors, for running step graphs without a backend."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from co3d.compiler.temporal import StateSpec

# Elements of every state, newest first, each (N, …).
Past: TypeAlias = tuple[tuple[Tensor, ...], ...]


def start_past(
    states: Sequence[StateSpec],
    streams: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Past:
    """The initial elements of `streams` streams, with floating-point ones in `dtype`."""
    return tuple(
        tuple(
            torch.full(
                (streams, *spec.shape),
                spec.fill,
                dtype=spec.dtype_in(dtype),
                device=device,
            )
            for _ in range(spec.depth)
        )
        for spec in states
    )


def push_newest(past: Past, updates: Sequence[int], newest: Sequence[Tensor]) -> Past:
    """Push the newest elements of these states, and drop their oldest ones."""
    moved = list(past)
    for state, element in zip(updates, newest, strict=True):
        moved[state] = (element, *past[state][:-1])
    return tuple(moved)
