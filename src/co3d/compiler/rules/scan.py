"""Recurrences: each element is computed from the previous one, from a stream's first frame on.

The previous element summarises a past of any length. So LSTMs, cumulative sums and loops over
frames stream exactly, with a state of one element.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.framewise import FOLDED_OPERATORS, lower_folded
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    find_rule,
    rule,
)
from co3d.compiler.temporal import TemporalType, join

_ATEN = torch.ops.aten


class Scan:
    """A clip operator that runs a body over time, on the elements and its previous results.

    `scan(inputs, constants)` takes values (N, T, …) and returns one: the body's results of all
    elements, concatenated along axis 2 (flattened to one axis first if their shapes differ).

    Args:
        body: forward(*elements, *carries, *constants) -> (*results,), all (N, …), without a time
            axis. Its placeholders and results have their shapes in `meta["val"]`.
        inputs: number of elements that it takes.
        carried: for each carry, the index of the previous result that it is.
        fill: initial value of all carries.

    Two scans with equal bodies are equal.
    """

    __name__ = "scan"

    def __init__(
        self, body: fx.GraphModule, inputs: int, carried: Sequence[int], fill: float
    ) -> None:
        self.body, self.inputs, self.carried = body, inputs, tuple(carried)
        self.fill = fill

    def __call__(self, inputs: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
        """Run the body over axis 1 of the inputs."""
        batch, first = len(inputs[0]), inputs[0]
        past = [
            first.new_full((batch, *self.shapes[i]), self.fill, dtype=self._dtype(i, first))
            for i in self.carried
        ]
        elements = []
        for clip in zip(*(x.unbind(1) for x in inputs), strict=True):
            results = self.body(*clip, *past, *constants)
            past = [results[i] for i in self.carried]
            elements.append(self._pack(results))
        return torch.stack(elements, 1)

    def _dtype(self, result: int, like: Tensor) -> torch.dtype:
        """Dtype of a result; floats take the inputs' dtype, which may differ from the capture's."""
        dtype = self.results[result].meta["val"].dtype
        return like.dtype if dtype.is_floating_point else dtype

    def _pack(self, results: Sequence[Tensor]) -> Tensor:
        if len(results) == 1:
            return results[0]
        return torch.cat([r if self.can_concatenate else r.flatten(1) for r in results], 1)

    @cached_property
    def placeholders(self) -> list[fx.Node]:
        """The body's inputs: elements, carries, constants."""
        return [node for node in self.body.graph.nodes if node.op == "placeholder"]

    @property
    def results(self) -> list[fx.Node]:
        """The body's results."""
        return list(next(n for n in self.body.graph.nodes if n.op == "output").args[0])

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the results of one stream."""
        return [tuple(node.meta["val"].shape[1:]) for node in self.results]

    @cached_property
    def can_concatenate(self) -> bool:
        """Whether the results differ along their first axis alone, to be concatenated along it."""
        return all(self.shapes) and len({shape[1:] for shape in self.shapes}) == 1

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """The range of each result along axis 1 of an element of the scan's result."""
        spans, start = [], 0
        for shape in self.shapes:
            size = shape[0] if self.can_concatenate else torch.Size(shape).numel()
            spans.append((start, start + size))
            start += size
        return spans

    @property
    def _key(self) -> tuple[object, ...]:
        return self.body.code, self.inputs, self.carried, self.fill

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scan) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return "scan"


@dataclass
class _BodyContext(Context):
    """The context of the operators of a body, whose constants are arguments of the scan."""

    constants: dict[fx.Node, fx.Node] = field(default_factory=dict)

    def tensor(self, node: fx.Node | None) -> Tensor | None:
        """The constant behind a placeholder of the body."""
        return super().tensor(self.constants.get(node, node) if node else None)


@rule(Scan)
def lower_scan(ctx: Context, node: fx.Node) -> Lowering:
    """Run the body once per step, on the newest elements and its previous results."""
    scan: Any = node.target
    inputs: Any = node.args[0]
    constants: Any = node.args[1]
    types = [ctx.type_of(x) for x in inputs]
    if any(t.axis != 1 or t.is_merged or t.rows != types[0].rows for t in types):
        raise UnsupportedError(
            "it runs over another axis than time, or over more than time",
            "keep frames apart from the batch and from space: (N, T, C)",
        )
    if len({t.stride for t in types}) > 1 or any(t.is_pooled for t in types):
        raise UnsupportedError(
            "it reads values of different frame rates, or what a global pool has collapsed",
            "bring all of its inputs to one frame rate",
        )
    joined = join(types).at_axis(1)
    uses = [Use(x, joined.delay - t.delay) for x, t in zip(inputs, types, strict=True)]
    steps = _lower_body(ctx, scan, constants)
    if not scan.carried:
        return Lowering(joined, uses, _plan_body(scan, steps), _count_macs(steps))
    return make_recurrent(
        node, joined, uses, scan.fill, _plan_body(scan, steps), _count_macs(steps)
    )


def make_recurrent(
    node: fx.Node,
    type_in: TemporalType,
    uses: Sequence[Use],
    fill: float,
    emit: Any,
    macs: int = 0,
) -> Lowering:
    """A lowering that also reads its own previous result.

    Args:
        node: the node to lower.
        type_in: temporal type of its inputs' combination, and so of its result.
        uses: the reads of its inputs.
        fill: initial value of the result.
        emit: as in `Lowering`; its last frame is the previous result.
        macs: multiply-accumulates of one step.
    """
    own = Use(node, type_in.stride, fill, recurrent=True)
    return Lowering(replace(type_in, unbounded=True), [*uses, own], emit, macs)


def _lower_body(
    ctx: Context, scan: Scan, constants: Sequence[fx.Node]
) -> list[tuple[fx.Node, Lowering]]:
    """Lower the operators of a body by their rules, as operators without time."""
    own = scan.placeholders
    moving = len(own) - len(constants)
    body = _BodyContext(
        ctx.clip_graph,
        ctx.clip_frames,
        ctx.batch,
        constants=dict(zip(own[moving:], constants, strict=True)),
    )
    body.types = dict.fromkeys(own[:moving], TemporalType(axis=None))
    steps = []
    for node in scan.body.graph.nodes:
        if node.op == "call_function":
            lowering = _lower_operator(body, node)
            body.types[node] = lowering.type
            steps.append((node, lowering))
    if any(body.types.get(result) != TemporalType(axis=None) for result in scan.results):
        raise UnsupportedError(
            "its loop mixes the streams of a batch", "treat all streams alike in the loop"
        )
    return steps


def _lower_operator(ctx: Context, node: fx.Node) -> Lowering:
    if not any(ctx.is_temporal(n) for n in node.all_input_nodes):
        raise UnsupportedError("its loop computes a constant", "make it a buffer")
    if node.target in FOLDED_OPERATORS:
        return lower_folded(ctx, node)
    return find_rule(node.target)(ctx, node)


def _count_macs(steps: Sequence[tuple[fx.Node, Lowering]]) -> int:
    return sum(lowering.macs for _, lowering in steps)


def _plan_body(scan: Scan, steps: Sequence[tuple[fx.Node, Lowering]]) -> Any:
    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        elements = frames[: scan.inputs]
        past = [_unpack(builder, scan, frames[-1], i) for i in scan.carried]
        moving = scan.placeholders[: len(elements) + len(past)]
        values = dict(zip(moving, [*elements, *past], strict=True))
        for node, lowering in steps:
            values[node] = lowering.emit(builder, [values[use.node] for use in lowering.uses])
        return _pack(builder, scan, [values[node] for node in scan.results])

    return emit


def _pack(builder: Builder, scan: Scan, results: list[fx.Node]) -> fx.Node:
    if len(results) == 1:
        return results[0]
    if not scan.can_concatenate:
        results = [builder.call(torch.flatten, result, 1) for result in results]
    return builder.call(torch.cat, results, 1)


def _unpack(builder: Builder, scan: Scan, packed: fx.Node, result: int) -> fx.Node:
    if len(scan.shapes) == 1:
        return packed
    part = builder.call(_ATEN.slice.Tensor, packed, 1, *scan.spans[result])
    if scan.can_concatenate:
        return part
    return builder.call(torch.reshape, part, (-1, *scan.shapes[result]))
