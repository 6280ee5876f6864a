"""Which element of a clip network's value a step must reproduce, and at which tick (step index)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from co3d.compiler.rules.layout import split_clip
from co3d.compiler.temporal import TemporalType


def elements_by_tick(
    value: Tensor, type_: TemporalType, batch: int, clip_frames: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the elements (batch, [rows], …) of a clip value, each with the tick that makes it.

    A value that is pooled over time has one element, made with the clip's last element.
    """
    if type_.is_pooled:
        element = value if type_.axis is None else value.select(type_.axis, 0)
        if type_.step_rows > 1:
            element = element.unflatten(0, (batch, type_.step_rows))
        yield type_.last_position(clip_frames) + type_.delay, element
        return
    for j, element in enumerate(split_clip(value, type_, batch)):
        yield j * type_.stride + type_.delay, element


def last_tick(type_: TemporalType, clip_frames: int) -> int:
    """The tick at which a value's last element is made."""
    return type_.last_position(clip_frames) + type_.delay


def relative_difference(actual: Tensor, expected: Tensor, scale: float) -> float:
    """The largest absolute difference divided by `scale`; infinite where only one is finite.

    Equal infinities (a maximum over nothing) and NaN in both count as equal.
    """
    actual, expected = actual.double(), expected.double()
    same = (actual == expected) | (actual.isnan() & expected.isnan())
    difference = torch.where(same, 0.0, (actual - expected).abs())
    if not difference.isfinite().all():
        return float("inf")
    worst = float(difference.max()) if difference.numel() else 0.0
    return worst / scale if worst else 0.0


def largest_magnitude(value: Tensor) -> float:
    """The largest finite magnitude in a value; 0 where there is none."""
    finite = value[value.isfinite()]
    return float(finite.double().abs().max()) if finite.numel() else 0.0


def scale_of(value: Tensor) -> float:
    """The scale for relative differences: the largest magnitude, or a tiny number if that is 0."""
    return max(largest_magnitude(value), torch.finfo(torch.float64).tiny)
