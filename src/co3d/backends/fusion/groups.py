"""Groups of operators that one kernel runs together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from torch import Tensor, fx

# Of a group, whose kernels have places for so many.
MOST_SOURCES, MOST_BESIDE = 64, 8

# The geometry of a convolution of one pixel.
POINT = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


class Activation(IntEnum):
    """What is applied to a value.

    Kernels know it by its number: `native/kernels/vectors.hpp`, `triton_gpu/activations.py`.
    """

    IDENTITY = 0
    RELU = 1
    SILU = 2
    SIGMOID = 3


@dataclass(frozen=True)
class Convolve:
    """A dense convolution, or a linear layer, and what is done to its source and its result.

    activation(convolution(source_activation(gate * cat(sources))) + residual)
    """

    sources: tuple[fx.Node, ...]
    weight: Tensor
    bias: Tensor | None
    geometry: Mapping[str, Any]
    gate: fx.Node | None = None
    source_activation: Activation = Activation.IDENTITY
    residual: fx.Node | None = None
    activation: Activation = Activation.IDENTITY


@dataclass(frozen=True)
class SumDepthwise:
    """The sum of one depthwise convolution per source: activation(scale * (sum + added) + bias).

    Without weights all are ones, over `kernel` pixels. `mean` is a node that averages the result
    over its pixels, if there is one; `beside` are nodes that are sums of the same readings by other
    weights, as the taps of a temporal kernel are.
    """

    sources: tuple[fx.Node, ...]
    weights: tuple[Tensor, ...] | None
    bias: Tensor | None
    geometry: Mapping[str, Any]
    activation: Activation = Activation.IDENTITY
    kernel: tuple[int, int] = (1, 1)
    scale: float = 1.0
    mean: fx.Node | None = None
    added: tuple[fx.Node, ...] = ()
    beside: Mapping[fx.Node, "SumDepthwise"] = field(default_factory=dict)


@dataclass(frozen=True)
class Mean:
    """The mean of a map over its pixels, from sums that the kernel which made it left."""

    source: fx.Node


@dataclass(frozen=True)
class Select:
    """The source in rows that are marked, `fill` in the others."""

    source: fx.Node
    marks: fx.Node
    fill: float


@dataclass(frozen=True)
class Greatest:
    """The greatest number of each window of pixels, over all sources: a maximum pool.

    What lies beside the maps counts as minus infinity; a NaN is greater than anything.
    """

    sources: tuple[fx.Node, ...]
    kernel: tuple[int, int] = (1, 1)
    geometry: Mapping[str, Any] = field(default_factory=lambda: POINT)


@dataclass(frozen=True)
class View:
    """The same numbers under another shape, which has one pixel at most."""

    source: fx.Node


Group = Convolve | SumDepthwise | Mean | Select | Greatest | View


def find_read(group: Group) -> Sequence[fx.Node]:
    """The values that a group reads."""
    if isinstance(group, Convolve):
        extra = [node for node in (group.gate, group.residual) if node is not None]
        return (*group.sources, *extra)
    if isinstance(group, SumDepthwise):
        return (*group.sources, *group.added)
    if isinstance(group, Greatest):
        return group.sources
    if isinstance(group, Select):
        return (group.source, group.marks)
    return (group.source,)
