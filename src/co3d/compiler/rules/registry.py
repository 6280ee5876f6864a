"""Rules: each turns one clip operator into step operators. Registered per ATen operator."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from co3d.compiler.temporal import TemporalType


class UnsupportedError(Exception):
    """Raised by a rule that cannot stream this use of its operator; the compiler collects these.

    Args:
        reason: why, in one clause.
        hint: what the user can do, in one clause.
    """

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Builder(Protocol):
    """The methods that a rule may call while the step graph is built."""

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a function call to the step graph."""
        ...

    def constant(self, tensor: Tensor) -> fx.Node:
        """Intern a constant tensor."""
        ...

    def batch_size(self) -> fx.Node:
        """Number of streams in the batch, as a node."""
        ...

    def are_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """(N, K) bool: which of the K reads of the lowering lie inside the clip.

        The clip is extended by `before` frames at its start and `after` at its end. None if all
        always lie inside. The lowering must set `counts`.
        """
        ...

    def count_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """(N,) how many reads lie inside the clip, at least one; otherwise like `are_inside`."""
        ...


def merged_time_error() -> UnsupportedError:
    """The error for an operator along an axis that merges time with another axis."""
    return UnsupportedError(
        "it treats time and what is folded into its axis as one axis",
        "keep time in an axis of its own: (N, C, T, H, W)",
    )


@dataclass(frozen=True)
class Use:
    """A read of a value as it was `back` ticks ago.

    `fill` replaces elements outside the clip (the consumer's padding); None if it does not matter,
    because the result is outside as well.

    A `recurrent` use reads the operator's own previous element: `back` is its stride, and `fill`
    the initial value of the recurrence.
    """

    node: fx.Node
    back: int = 0
    fill: float | None = None
    recurrent: bool = False


@dataclass(frozen=True)
class Lowering:
    """The step form of one clip node, as a rule returns it.

    Attributes:
        type: temporal type of the result.
        uses: the values that the step reads, with their ages.
        emit: adds the step operators, given a builder and the step nodes of `uses`.
        macs: multiply-accumulates of one step of one stream.
        counts: whether `emit` asks which reads lie inside the clip.
        interleaved: the variants of an operator that enlarges time: of n variants, variant i makes
            elements i, i + n, i + 2n, …. Then `uses` are those of all variants, `macs` is their
            mean, and `emit` is not used.
    """

    type: TemporalType
    uses: Sequence[Use]
    emit: Callable[[Builder, list[fx.Node]], fx.Node]
    macs: int = 0
    counts: bool = False
    interleaved: Sequence["Lowering"] = ()

    @property
    def variants(self) -> Sequence["Lowering"]:
        """The interleaved variants in order; itself if there are none."""
        return self.interleaved or (self,)

    def at(self, tick: int | None) -> "Lowering":
        """The variant that makes the element of this tick; itself if there are none."""
        if not self.interleaved:
            return self
        assert tick is not None
        return next(variant for variant in self.interleaved if variant.type.is_due(tick))

    def with_typed_fills(self) -> "Lowering":
        """The same with each fill in its value's dtype: a bool for masks, an int for integers."""
        return replace(
            self,
            uses=[replace(use, fill=_cast_fill(use)) for use in self.uses],
            interleaved=[variant.with_typed_fills() for variant in self.interleaved],
        )

    def postponed(self, ticks: int) -> "Lowering":
        """The same, made `ticks` later."""
        if not ticks:
            return self
        return replace(
            self,
            type=replace(self.type, delay=self.type.delay + ticks),
            uses=[
                use if use.recurrent else replace(use, back=use.back + ticks) for use in self.uses
            ],
            interleaved=[variant.postponed(ticks) for variant in self.interleaved],
        )


def _cast_fill(use: Use) -> float | None:
    if use.fill is None:
        return None
    dtype = use.node.meta["val"].dtype
    if dtype.is_floating_point:
        return use.fill
    if dtype == torch.bool:
        return bool(use.fill)
    limits = torch.iinfo(dtype)
    return int(min(max(use.fill, limits.min), limits.max))


@dataclass
class Context:
    """What rules know of the clip graph, and what they note for later passes.

    Attributes:
        clip_graph: the graph and its constants.
        clip_frames: length of the clip that the graph was exported for.
        batch: number of clips that it was exported for.
        windows: global pool -> elements that it pools; rules add missing ones with the length of
            the clip.
        fixed_windows: global pools whose window must be as long as the clip.
        types: temporal types of the values before the node.
        gates: global pools whose results are combined with frames again, as in
            squeeze-and-excitation.
        norms: norms with statistics of the whole clip.
    """

    clip_graph: fx.GraphModule
    clip_frames: int
    batch: int
    windows: dict[str, int] = field(default_factory=dict)
    fixed_windows: set[str] = field(default_factory=set)
    types: dict[fx.Node, TemporalType] = field(default_factory=dict)
    gates: set[str] = field(default_factory=set)
    norms: set[str] = field(default_factory=set)

    def fix_window(self, node: fx.Node, elements: int) -> None:
        """Note that a node pools this many elements, like a global pool with a fixed window."""
        self.windows[node.name] = elements
        self.fixed_windows.add(node.name)

    def type_of(self, node: fx.Node) -> TemporalType:
        """Temporal type of a value that depends on the input."""
        return self.types[node]

    def is_temporal(self, argument: object) -> bool:
        """Whether an argument is a value that depends on the input."""
        return isinstance(argument, fx.Node) and argument in self.types

    def tensor(self, node: fx.Node | None) -> Tensor | None:
        """The constant behind a get_attr node."""
        if node is None:
            return None
        if node.op != "get_attr":
            raise UnsupportedError(
                f"its argument {node.name!r} is computed, not a constant",
                "make it a parameter or a buffer",
            )
        return self.clip_graph.get_buffer(str(node.target))

    @staticmethod
    def shape(node: fx.Node) -> tuple[int, ...]:
        """Clip shape of a value."""
        return tuple(node.meta["val"].shape)

    @staticmethod
    def frame_elements(type_: TemporalType, clip_shape: tuple[int, ...]) -> int:
        """How many numbers one element of one stream has, for a value of this clip shape."""
        return math.prod(type_.frame_shape(clip_shape))


Rule = Callable[[Context, fx.Node], Lowering]
# Key of a node's meta: the value has one element per frame, although its shape has one per clip.
GATE_PER_FRAME = "gate_per_frame"
_RULES: dict[Any, Rule] = {}
_FOLD_AWARE: set[Any] = set()
_ADD = torch.ops.aten.add.Tensor


def rule(*targets: Any, fold_aware: bool = False) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these ATen operators.

    A class registers its instances: operators that contain a graph. A `fold_aware` rule handles
    time that shares an axis with channels or space; other rules are not called for it.
    """

    def register(function: Rule) -> Rule:
        for target in targets:
            if target in _RULES:
                raise ValueError(f"{target} has a rule already")
            _RULES[target] = function
            if fold_aware:
                _FOLD_AWARE.add(target)
        return function

    return register


def find_rule(target: Any) -> Rule:
    """The rule of an operator; UnsupportedError when there is none.

    Operators that torch tags as pointwise share the rule of addition.
    """
    return _RULES[_find_key(target)]


def list_targets() -> list[Any]:
    """All that is registered: ATen operators, functions, and classes of operators."""
    return list(_RULES)


def is_fold_aware(target: Any) -> bool:
    """Whether an operator's rule handles folded time; UnsupportedError when it has no rule."""
    return _find_key(target) in _FOLD_AWARE


def _find_key(target: Any) -> Any:
    for key in (target, type(target)):
        if key in _RULES:
            return key
    makes_one_value = len(getattr(getattr(target, "_schema", None), "returns", ())) == 1
    if makes_one_value and torch.Tag.pointwise in target.tags:
        return _ADD
    raise UnsupportedError(
        "no rule says how it runs frame by frame",
        "replace it by supported operators, or move it out of the exported model",
    )


def arguments(node: fx.Node, *names: str) -> dict[str, Any]:
    """A node's arguments by schema name, defaults filled in; only `names` when given."""
    schema = node.target._schema  # type: ignore[union-attr]
    values: dict[str, Any] = {}
    for position, argument in enumerate(schema.arguments):
        if position < len(node.args):
            values[argument.name] = node.args[position]
        else:
            default = argument.default_value if argument.has_default_value() else None
            values[argument.name] = node.kwargs.get(argument.name, default)
    return {name: values[name] for name in names} if names else values


def map_arguments(
    ctx: Context, builder: Builder, node: fx.Node, values: dict[fx.Node, fx.Node]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A clip node's arguments in the step graph: its operands from `values`, constants interned."""

    def find(argument: fx.Node) -> fx.Node:
        if argument in values:
            return values[argument]
        tensor = ctx.tensor(argument)
        assert tensor is not None
        return builder.constant(tensor)

    args, kwargs = fx.map_arg((node.args, node.kwargs), find)  # type: ignore[arg-type]
    return args, kwargs  # type: ignore[return-value]
