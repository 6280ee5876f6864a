"""Emission: lowerings become step graphs without a time axis, one with masks and one without."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from co3d.stream.analyse import Analysis
from co3d.stream.rules import Use
from co3d.stream.temporal import StateSpec, TemporalType

# A state is one value's past, as one kind of consumer wants to see what lies outside the clip.
StateKey = tuple[fx.Node, float]


def plan_states(analysis: Analysis) -> dict[StateKey, StateSpec]:
    """Which values must be remembered, for how long: the deepest reading of each.

    Delay lines do not care about the fill and share a state that is there already.
    """
    depths: dict[StateKey, int] = {}
    indifferent: list[Use] = []
    for lowering in analysis.lowerings.values():
        for use in lowering.uses:
            if use.fill is None:
                indifferent.append(use)
            elif use.back:
                key = (use.node, use.fill)
                depths[key] = max(depths.get(key, 0), use.back)
    for use in indifferent:
        if use.back:
            key = _shared_key(depths, use.node)
            depths[key] = max(depths.get(key, 0), use.back)
    states: dict[StateKey, StateSpec] = {}
    for node in analysis.types:
        for fill in sorted(f for n, f in depths if n is node):
            axis = analysis.types[node].axis
            shape = tuple(s for d, s in enumerate(node.meta["val"].shape) if d not in (0, axis))
            name = node.name if fill == 0 else f"{node.name}_outside_{_identifier(fill)}"
            states[node, fill] = StateSpec(name, shape, depths[node, fill], fill)
    return states


def _identifier(fill: float) -> str:
    return re.sub(r"\W", "_", str(fill).replace("-", "minus_"))


def _shared_key(depths: dict[StateKey, int], node: fx.Node) -> StateKey:
    fills = sorted(f for n, f in depths if n is node)
    return node, 0.0 if not fills or 0.0 in fills else fills[0]


@dataclass
class StepBuilder:
    """Builds one step graph: `forward(frame, [age, end], *past) -> (output, *newest)`.

    `past` holds every state's elements, newest first, state after state. `age` (N,) int64 is the
    number of frames that each stream has seen before this one; `end` (N,) the index of its last
    frame, or a huge number while that is unknown. Both exist in masked graphs only.
    """

    analysis: Analysis
    states: dict[StateKey, StateSpec]
    masked: bool
    with_end: bool
    graph: fx.Graph = field(default_factory=fx.Graph)
    root: nn.Module = field(default_factory=nn.Module)

    def __post_init__(self) -> None:
        self._constants: dict[int, tuple[Tensor, fx.Node]] = {}
        self._current: dict[fx.Node, fx.Node] = {}
        self._filled: dict[StateKey, fx.Node] = {}
        self._positions: dict[int, fx.Node] = {}
        self._real: dict[tuple[int, int], fx.Node] = {}

    def build(self, clip_graph: fx.GraphModule) -> fx.GraphModule:
        """Emit every lowering and return the step graph."""
        self._frame = self.graph.placeholder("frame")
        if self.masked:
            self._age = self.graph.placeholder("age")
            self._end = self.graph.placeholder("end") if self.with_end else None
        self._past = {
            key: [self.graph.placeholder(f"{spec.name}_past{i + 1}") for i in range(spec.depth)]
            for key, spec in self.states.items()
        }
        output = None
        for node in clip_graph.graph.nodes:
            if node.op == "placeholder":
                self._current[node] = self._frame
            elif node in self.analysis.lowerings:
                lowering = self.analysis.lowerings[node]
                self._current[node] = lowering.emit(self, [self._read(u) for u in lowering.uses])
            elif node.op == "output":
                output = self._current[node.args[0]]
        newest = [self._newest(node, fill) for node, fill in self.states]
        self.graph.output((output, *newest))
        self.graph.eliminate_dead_code()
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph, "Masked" if self.masked else "Steady")

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a function call to the step graph."""
        return self.graph.call_function(target, args, kwargs)

    def constant(self, tensor: Tensor) -> fx.Node:
        """Intern a constant: the same tensor object is stored once."""
        if id(tensor) not in self._constants:
            name = f"constant{len(self._constants)}"
            self.root.register_buffer(name, tensor)
            # The tensor is kept, so that its id is not reused.
            self._constants[id(tensor)] = (tensor, self.graph.get_attr(name))
        return self._constants[id(tensor)][1]

    def element_count(self, type_: TemporalType, window: int) -> fx.Node | None:
        """(N,) how many of the newest `window` elements lie inside the clip, at least one."""
        if not self.masked:
            return None
        newest = self.call(torch.unsqueeze, self._position(type_.delay), 1)
        offsets = self.constant(torch.arange(window) * type_.stride)
        positions = self.call(torch.sub, newest, offsets)
        real = self.call(torch.ge, positions, 0)
        if self._end is not None:
            last = self.call(torch.unsqueeze, self._last(type_.extent), 1)
            real = self.call(torch.logical_and, real, self.call(torch.le, positions, last))
        return self.call(torch.clamp_min, self.call(torch.sum, real, 1), 1)

    def _read(self, use: Use) -> fx.Node:
        if use.back:
            fill = use.fill
            key = (use.node, fill) if fill is not None else _shared_key(self._depths, use.node)
            return self._past[key][use.back - 1]
        return self._current[use.node] if use.fill is None else self._newest(use.node, use.fill)

    @property
    def _depths(self) -> dict[StateKey, int]:
        return {key: spec.depth for key, spec in self.states.items()}

    def _newest(self, node: fx.Node, fill: float) -> fx.Node:
        """The value of this tick, with `fill` in the rows where it lies outside the clip."""
        value, type_ = self._current[node], self.analysis.types[node]
        if not self.masked or (type_.delay == 0 and not self.with_end):
            return value
        if (node, fill) not in self._filled:
            rank = len(node.meta["val"].shape) - (type_.axis is not None)
            real = self.call(
                torch.reshape, self._is_real(type_.delay, type_.extent), (-1,) + (1,) * (rank - 1)
            )
            self._filled[node, fill] = self.call(torch.where, real, value, fill)
        return self._filled[node, fill]

    def _is_real(self, delay: int, extent: int) -> fx.Node:
        """(N,) bool: whether this tick's element exists in the clip."""
        if (delay, extent) not in self._real:
            position = self._position(delay)
            real = self.call(torch.ge, position, 0)
            if self._end is not None:
                within = self.call(torch.le, position, self._last(extent))
                real = self.call(torch.logical_and, real, within)
            self._real[delay, extent] = real
        return self._real[delay, extent]

    def _position(self, delay: int) -> fx.Node:
        """(N,) the frame that this tick's element stands for."""
        if delay not in self._positions:
            self._positions[delay] = self.call(torch.sub, self._age, delay) if delay else self._age
        return self._positions[delay]

    def _last(self, extent: int) -> fx.Node:
        assert self._end is not None
        return self.call(torch.add, self._end, extent) if extent else self._end
