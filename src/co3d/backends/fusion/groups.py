"""The kinds of fused groups: operators that one kernel runs together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from torch import Tensor, fx

# The most sources and additional outputs of a group; the kernels' arrays have these sizes.
MOST_SOURCES, MOST_ADDITIONAL = 64, 8

# The geometry of a 1x1 convolution.
POINT = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


class Activation(IntEnum):
    """The activation function of a group.

    Kernels use the same numbers: `native/kernels/vectors.hpp`, `triton_gpu/activations.py`.
    """

    IDENTITY = 0
    RELU = 1
    SILU = 2
    SIGMOID = 3


@dataclass(frozen=True)
class Convolve:
    """A dense convolution or linear layer with what is fused into it:

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

    Attributes:
        weights: per source (channels, height, width); None for ones over `kernel` pixels.
        divisor: a node of one number, which divides the sum.
        mean: the node that averages the result over its pixels, for which the kernel sums them.
        added: maps that are added to the sum.
        additional: additional outputs, by node: sums of the same sources with other weights, such
            as the other taps of a temporal kernel.
    """

    sources: tuple[fx.Node, ...]
    weights: tuple[Tensor, ...] | None
    bias: Tensor | None
    geometry: Mapping[str, Any]
    activation: Activation = Activation.IDENTITY
    kernel: tuple[int, int] = (1, 1)
    scale: float = 1.0
    divisor: fx.Node | None = None
    mean: fx.Node | None = None
    added: tuple[fx.Node, ...] = ()
    additional: Mapping[fx.Node, "SumDepthwise"] = field(default_factory=dict)


@dataclass(frozen=True)
class Mean:
    """The mean of a map over its pixels, from partial sums that the map's kernel wrote."""

    source: fx.Node


@dataclass(frozen=True)
class Select:
    """torch.where(mask, source, fill), with one mask value per batch row."""

    source: fx.Node
    mask: fx.Node
    fill: float


@dataclass(frozen=True)
class MaxPool:
    """The maximum of each window of pixels, over all sources.

    Padding is minus infinity; NaN propagates.
    """

    sources: tuple[fx.Node, ...]
    kernel: tuple[int, int] = (1, 1)
    geometry: Mapping[str, Any] = field(default_factory=lambda: POINT)


@dataclass(frozen=True)
class View:
    """A reshape of a value that has one pixel at most."""

    source: fx.Node


Group = Convolve | SumDepthwise | Mean | Select | MaxPool | View


def list_read(group: Group) -> Sequence[fx.Node]:
    """The values that a group reads."""
    if isinstance(group, Convolve):
        extra = [node for node in (group.gate, group.residual) if node is not None]
        return (*group.sources, *extra)
    if isinstance(group, SumDepthwise):
        divisor = () if group.divisor is None else (group.divisor,)
        return (*group.sources, *group.added, *divisor)
    if isinstance(group, MaxPool):
        return group.sources
    if isinstance(group, Select):
        return (group.source, group.mask)
    return (group.source,)
