"""Rules: how one clip operator becomes step operators. One per ATen operator, found by name."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from co3d.compiler.temporal import TemporalType


class UnsupportedError(Exception):
    """A rule cannot stream this use of its operator; the compiler collects these.

    Args:
        reason: why, in one clause.
        hint: what the user can do, in one clause.
    """

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Builder(Protocol):
    """What a rule may ask for while the step graph is built."""

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
        """(N, K) bool: which of the K readings of the lowering lie inside the clip.

        The clip counts as `before` frames longer at its start and `after` at its end. None where
        that is always all of them. The lowering must say `counts`.
        """
        ...

    def count_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """(N,) how many of them lie inside the clip, at least one; as for `are_inside`."""
        ...


def takes_time_for_more() -> UnsupportedError:
    """What to say of an operator along an axis in which time is not alone."""
    return UnsupportedError(
        "it takes time and what is folded into its axis for one",
        "keep time in an axis of its own: (N, C, T, H, W)",
    )


@dataclass(frozen=True)
class Use:
    """One reading of a value: as it was `back` ticks ago.

    `fill` is what the consumer wants to see in place of elements outside the clip (its padding);
    None when it does not matter, because the result is outside as well.

    A `recurrent` reading is of what the reading operator made itself, an element before: `back` is
    its own stride. The fill is what the recurrence begins with.
    """

    node: fx.Node
    back: int = 0
    fill: float | None = None
    recurrent: bool = False


@dataclass(frozen=True)
class Lowering:
    """What a rule says of one clip node.

    Attributes:
        type: temporal type of the result.
        uses: the values that the step reads, each at its time.
        emit: given a builder and the step nodes of `uses`, adds the step operators.
        macs: multiply-accumulates of one step of one stream.
        counts: whether `emit` asks which readings lie inside the clip.
        turns: of a value that has several elements for each of those it reads, how each of them is
            made: the first element and every len(turns)-th after it by the first, and so on. Then
            `uses` are those of all turns, `macs` their mean, and `emit` has no meaning.
    """

    type: TemporalType
    uses: Sequence[Use]
    emit: Callable[[Builder, list[fx.Node]], fx.Node]
    macs: int = 0
    counts: bool = False
    turns: Sequence["Lowering"] = ()

    @property
    def each_turn(self) -> Sequence["Lowering"]:
        """How its elements are made in turn; the lowering itself where all are made alike."""
        return self.turns or (self,)

    def at(self, tick: int | None) -> "Lowering":
        """How the element of this tick is made; of any tick where all are made alike."""
        if not self.turns:
            return self
        assert tick is not None
        return next(turn for turn in self.turns if turn.type.is_due(tick))

    def with_fills_in_kind(self) -> "Lowering":
        """The same, with each fill of its value's own kind: of a mask a bool, of counts whole."""
        return replace(
            self,
            uses=[replace(use, fill=_in_kind(use)) for use in self.uses],
            turns=[turn.with_fills_in_kind() for turn in self.turns],
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
            turns=[turn.postponed(ticks) for turn in self.turns],
        )


def _in_kind(use: Use) -> float | None:
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
    """What a rule can see of the clip graph, and where it notes what later passes need.

    Attributes:
        clip_graph: the graph and its constants.
        clip_frames: length of the clip that the graph was exported for.
        batch: number of clips that it was exported for.
        windows: elements that each global pool averages, by name; as many as the clip has where
            none was given. The rule of the pool writes down what it took.
        fixed_windows: those of them that can be no others.
        types: temporal types of the values before the node.
        gates: global pools whose value meets frames again (squeeze-and-excitation, say).
        norms: those with statistics of the whole clip.
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
        """Note that a node sees so many elements as a global pool does, and can see no others."""
        self.windows[node.name] = elements
        self.fixed_windows.add(node.name)

    def type_of(self, node: fx.Node) -> TemporalType:
        """Temporal type of a value that depends on the input."""
        return self.types[node]

    def is_temporal(self, argument: object) -> bool:
        """Whether an argument is a value that depends on the input (constants do not)."""
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
# In a node's meta: it has one element per frame, though its shape is that of one per clip.
GATE_PER_FRAME = "gate_per_frame"
_RULES: dict[Any, Rule] = {}
_FOLD_AWARE: set[Any] = set()
_ADD = torch.ops.aten.add.Tensor


def rule(*targets: Any, fold_aware: bool = False) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these ATen operators.

    A class stands for its instances: operators that carry a graph of their own. A rule that is
    `fold_aware` knows of time that shares an axis with channels or space; others are not asked.
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
    """What has a rule of its own: ATen operators, functions, and kinds of operators."""
    return list(_RULES)


def is_fold_aware(target: Any) -> bool:
    """Whether an operator's rule knows of folded time; UnsupportedError when it has no rule."""
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
