"""Rules: how one clip operator becomes step operators. One per ATen operator, found by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, fx

from co3d.stream.temporal import TemporalType


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

    def element_count(self, type_: TemporalType, window: int) -> fx.Node | None:
        """(N,) number of real elements in the last `window`; None where that is always all."""
        ...


@dataclass(frozen=True)
class Use:
    """One reading of a value: as it was `back` ticks ago.

    `fill` is what the consumer wants to see in place of elements outside the clip (its padding);
    None when it does not matter, because the result is outside as well.
    """

    node: fx.Node
    back: int = 0
    fill: float | None = None


@dataclass(frozen=True)
class Lowering:
    """What a rule says of one clip node.

    Attributes:
        type: temporal type of the result.
        uses: the values that the step reads, each at its time.
        emit: given a builder and the step nodes of `uses`, adds the step operators.
        macs: multiply-accumulates of one step of one stream.
    """

    type: TemporalType
    uses: Sequence[Use]
    emit: Callable[[Builder, list[fx.Node]], fx.Node]
    macs: int = 0


@dataclass
class Context:
    """What a rule can see of the clip graph, and where it notes what later passes need.

    Attributes:
        clip_graph: the graph and its constants.
        clip_frames: length of the clip that the graph was exported for.
        windows: elements that each global pool averages, by name; as many as the clip has where
            none was given. The rule of the pool writes down what it took.
        types: temporal types of the values before the node.
        gates: global pools whose value meets frames again (squeeze-and-excitation, say).
    """

    clip_graph: fx.GraphModule
    clip_frames: int
    windows: dict[str, int] = field(default_factory=dict)
    types: dict[fx.Node, TemporalType] = field(default_factory=dict)
    gates: set[str] = field(default_factory=set)

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

    def step_elements(self, node: fx.Node) -> int:
        """How many numbers one step of one stream makes of this value."""
        axis = self.types[node].axis if node in self.types else None
        return self.elements_without(self.shape(node), axis)

    @staticmethod
    def elements_without(shape: tuple[int, ...], axis: int | None) -> int:
        """Product of the sizes, leaving out the batch and the time axis."""
        count = 1
        for dim, size in enumerate(shape):
            if dim not in (0, axis):
                count *= size
        return count


Rule = Callable[[Context, fx.Node], Lowering]
_RULES: dict[Any, Rule] = {}


def rule(*targets: Any) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these ATen operators."""

    def register(function: Rule) -> Rule:
        for target in targets:
            if target in _RULES:
                raise ValueError(f"{target} has a rule already")
            _RULES[target] = function
        return function

    return register


def find_rule(target: Any) -> Rule:
    """The rule of an operator; UnsupportedError when there is none."""
    if target not in _RULES:
        raise UnsupportedError(
            "no rule says how it runs frame by frame",
            "replace it by supported operators, or move it out of the exported model",
        )
    return _RULES[target]


def arguments(node: fx.Node, *names: str) -> dict[str, Any]:
    """A node's arguments by schema name, defaults filled in; only `names` when given."""
    schema = node.target._schema  # type: ignore[union-attr]
    values: dict[str, Any] = {}
    for position, argument in enumerate(schema.arguments):
        if position < len(node.args):
            values[argument.name] = node.args[position]
        else:
            values[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return {name: values[name] for name in names} if names else values
