"""Emission: lowerings become a step graph without a time axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.graph_builder import GraphBuilder
from co3d.compiler.rules import Lowering, Use
from co3d.compiler.rules.layout import emit_rows_folded, emit_rows_unfolded
from co3d.compiler.states import StateKey, find_element, shared_fill
from co3d.compiler.temporal import StateSpec, TemporalType


@dataclass
class StepBuilder(GraphBuilder):
    """Builds one step graph: `forward(*frames, [age, [end]], *past) -> (*outputs, *newest)`.

    `past` holds every state's elements, newest first, state after state. `age` (N,) int64 is the
    number of frames that each stream has seen before this one; `end` (N,) the index of its last
    frame, or a huge number while that is unknown. Both exist in masked graphs only.

    With a `phase` (native rate) the graph computes only the values that are due at ticks `phase`,
    `phase + period`, …, and only their states get a newest element.
    """

    analysis: Analysis
    states: dict[StateKey, StateSpec]
    masked: bool
    with_end: bool
    phase: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self._current: dict[fx.Node, fx.Node] = {}
        self._filled: dict[StateKey, fx.Node] = {}
        self._positions: dict[int, fx.Node] = {}
        self._real: dict[tuple[int, int], fx.Node] = {}
        self._lowering: Lowering | None = None
        self._fills: dict[fx.Node, list[float]] = {}
        for node, fill in self.states:
            self._fills.setdefault(node, []).append(fill)

    def build(
        self, clip_graph: fx.GraphModule, results: Sequence[Use], observed: Sequence[fx.Node] = ()
    ) -> fx.GraphModule:
        """Emit every lowering that is due in this phase, and return the step graph.

        Args:
            clip_graph: the clip network.
            results: the outputs; the graph returns None for those that are not due.
            observed: further values to return, after the newest elements; all must be due.
        """
        past_names = {
            key: [f"{spec.name}_past{i + 1}" for i in range(spec.depth)]
            for key, spec in self.states.items()
        }
        own_names = {"age", "end"}.union(*past_names.values())
        for node in clip_graph.graph.nodes:
            if node.op == "placeholder":
                name = f"{node.name}_frame" if node.name in own_names else node.name
                self._current[node] = self.graph.placeholder(name)
        self.frames = list(self._current.values())
        if self.masked:
            self._age = self.graph.placeholder("age")
            self._end = self.graph.placeholder("end") if self.with_end else None
        self._past = {
            key: [self.graph.placeholder(name) for name in names]
            for key, names in past_names.items()
        }
        for node, lowering in self.analysis.lowerings.items():
            if self.makes(node):
                self._lowering = variant = lowering.at(self.phase)
                frames = [self._read(use, variant.type) for use in variant.uses]
                self._current[node] = variant.emit(self, frames)
        outputs = [self._read_result(use) for use in results]
        newest = [
            self._unfold_rows(node, self._newest(node, fill))
            for node, fill in self.states
            if self.makes(node)
        ]
        seen = [self._unfold_rows(node, self._current[node]) for node in observed]
        returned = (*outputs, *newest, *seen)
        return self.finish(returned, "Masked" if self.masked else "Steady")

    def makes(self, node: fx.Node) -> bool:
        """Whether a value gets a new element in this graph."""
        return self.phase is None or self.analysis.types[node].is_due(self.phase)

    def are_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """(N, K) bool: which reads of the current lowering lie inside the clip."""
        assert self._lowering is not None
        assert self._lowering.counts
        if not self.masked:
            return None
        uses, types = self._lowering.uses, self.analysis.types
        ages = self.call(torch.unsqueeze, self._age, 1)
        lags = self.constant(torch.tensor([use.back + types[use.node].delay for use in uses]))
        positions = self.call(torch.sub, ages, lags)
        real = self.call(torch.ge, positions, -before)
        if self._end is not None:
            extents = [self._extent(types[use.node], use.back) + after for use in uses]
            if len(set(extents)) == 1:
                last = self.call(torch.unsqueeze, self._last(extents[0]), 1)
            else:
                last = self.call(torch.unsqueeze, self._end, 1)
                last = self.call(torch.add, last, self.constant(torch.tensor(extents)))
            real = self.call(torch.logical_and, real, self.call(torch.le, positions, last))
        rows = types[uses[0].node].step_rows
        if rows > 1:  # all rows of a stream have the same age
            alike = self.call(torch.unsqueeze, real, 1)
            alike = self.call(torch.ops.aten.expand, alike, [-1, rows, -1])
            real = self.call(torch.reshape, alike, (-1, len(uses)))
        return real

    def count_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """(N,) how many reads of the current lowering lie inside the clip, at least one."""
        real = self.are_inside(before, after)
        if real is None:
            return None
        return self.call(torch.clamp_min, self.call(torch.sum, real, 1), 1)

    def _read(self, use: Use, reader: TemporalType) -> fx.Node:
        assert use.back >= 0, (reader, use)
        type_ = self.analysis.types[use.node]
        return self._element(use, find_element(use, type_, reader, dense=self.phase is None))

    def _read_result(self, use: Use) -> fx.Node | None:
        timing = self.analysis.timing
        if self.phase is not None and not timing.is_due(self.phase):
            return None
        type_ = self.analysis.types[use.node]
        index = find_element(use, type_, timing, dense=self.phase is None)
        return self._unfold_rows(use.node, self._element(use, index))

    def _unfold_rows(self, node: fx.Node, value: fx.Node) -> fx.Node:
        """Unfold the rows of each stream into an axis: (N·rows, …) -> (N, rows, …)."""
        type_ = self.analysis.types[node]
        if type_.step_rows == 1:  # always so for operators with several results
            return value
        return emit_rows_unfolded(self, value, type_, node.meta["val"].shape)

    def _element(self, use: Use, index: tuple[int, bool]) -> fx.Node:
        back, is_made_now = index
        if is_made_now and back == 0:
            value = self._current[use.node]
            return value if use.fill is None else self._newest(use.node, use.fill)
        fill = use.fill
        if fill is None:
            fill = shared_fill(self._fills[use.node], use.node)
        past = self._past[use.node, fill][back - is_made_now]
        type_ = self.analysis.types[use.node]
        return emit_rows_folded(self, past, type_, use.node.meta["val"].shape)

    def _newest(self, node: fx.Node, fill: float) -> fx.Node:
        """The value of this tick, with `fill` for the streams where it lies outside the clip."""
        value, type_ = self._current[node], self.analysis.types[node]
        if not self.masked or (type_.delay == 0 and not self.with_end):
            return value
        if (node, fill) not in self._filled:
            shape = node.meta["val"].shape
            axes = len(type_.frame_shape(shape))
            real = self._is_real(type_.delay, self._extent(type_))
            real = self.call(torch.reshape, real, (-1,) + (1,) * axes)
            value = self._unfold_rows(node, value)
            if node.meta["val"].dtype != torch.bool:
                filled = self.call(torch.where, real, value, fill)
            elif fill:
                filled = self.call(torch.logical_or, self.call(torch.logical_not, real), value)
            else:  # ONNX Runtime has no `where` for booleans
                filled = self.call(torch.logical_and, real, value)
            self._filled[node, fill] = emit_rows_folded(self, filled, type_, shape)
        return self._filled[node, fill]

    def _extent(self, type_: TemporalType, back: int = 0) -> int:
        """The extent of the element that was newest `back` ticks ago; it depends on the phase."""
        return type_.extent_at((self.phase or 0) - back - type_.delay)

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
        """(N,) the index of the frame that this tick's element stands for."""
        if delay not in self._positions:
            self._positions[delay] = self.call(torch.sub, self._age, delay) if delay else self._age
        return self._positions[delay]

    def _last(self, extent: int) -> fx.Node:
        assert self._end is not None
        return self.call(torch.add, self._end, extent) if extent else self._end
