"""Runs step graphs that return all intermediate values, and compares them with a clip network."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.emit import StepBuilder
from co3d.compiler.past import Past, push_newest, start_past
from co3d.compiler.program import Rate
from co3d.compiler.states import plan_states
from co3d.parity.elements import (
    elements_by_tick,
    last_tick,
    relative_difference,
    scale_of,
)

_UNKNOWN_END = 1 << 60
# The value of frames after the clip's end: so large that a missing mask causes a difference.
_AFTER_THE_END = 1e3


class ObservedProgram:
    """The masked step graphs of an analysis, which return every value that they make."""

    def __init__(self, clip_graph: fx.GraphModule, analysis: Analysis, rate: Rate) -> None:
        self._analysis = analysis
        self._states = plan_states(analysis, dense=rate == "dense")
        phases = [None] if rate == "dense" else list(range(analysis.period))
        self._phases = [self._build(clip_graph, phase) for phase in phases]

    def _build(
        self, clip_graph: fx.GraphModule, phase: int | None
    ) -> tuple[fx.GraphModule, list[int], list[fx.Node]]:
        builder = StepBuilder(self._analysis, self._states, masked=True, with_end=True, phase=phase)
        made = [node for node in self._analysis.lowerings if builder.makes(node)]
        updates = [i for i, (node, _) in enumerate(self._states) if builder.makes(node)]
        return builder.build(clip_graph, (), made), updates, made

    def compare(
        self,
        clips: Sequence[Tensor],
        values: dict[str, Tensor],
        compared: Sequence[fx.Node],
        advance: Callable[[], None],
    ) -> dict[fx.Node, tuple[int, float]]:
        """Step through clips, and compare values with the clip network's.

        Args:
            clips: (N, C, T, H, W), one per input.
            values: the clip network's values on these clips, by name.
            compared: which values to compare.
            advance: called after every step.

        Returns:
            For each compared value, how many elements were compared, and their largest relative
            difference.
        """
        batch, frames = len(clips[0]), clips[0].shape[2]
        types = self._analysis.types
        scales = {node: scale_of(values[node.name]) for node in compared}
        due: dict[int, dict[fx.Node, Tensor]] = {}
        for node in compared:
            for tick, element in elements_by_tick(values[node.name], types[node], batch, frames):
                due.setdefault(tick, {})[node] = element
        found: dict[fx.Node, tuple[int, float]] = dict.fromkeys(compared, (0, 0.0))
        past = start_past(list(self._states.values()), batch, clips[0].dtype)
        for tick in range(self.count_steps(compared, frames)):
            made, past = self._step(clips, tick, past)
            for node, expected in due.pop(tick, {}).items():
                difference = float("inf")
                if node in made and made[node].shape == expected.shape:
                    difference = relative_difference(made[node], expected, scales[node])
                count, worst = found[node]
                found[node] = (count + 1, max(worst, difference))
            advance()
        # Elements that the steps never made count as an infinite difference.
        for late in due.values():
            found.update((node, (found[node][0], float("inf"))) for node in late)
        return found

    def count_steps(self, compared: Sequence[fx.Node], clip_frames: int) -> int:
        """Steps until all elements of these values are made."""
        return 1 + max(last_tick(self._analysis.types[node], clip_frames) for node in compared)

    def _step(
        self, clips: Sequence[Tensor], tick: int, past: Past
    ) -> tuple[dict[fx.Node, Tensor], Past]:
        graph, updates, nodes = self._phases[tick % len(self._phases)]
        batch, clip_frames = len(clips[0]), clips[0].shape[2]
        ended = tick >= clip_frames
        frames = [
            torch.full_like(c[:, :, 0], _AFTER_THE_END) if ended else c[:, :, tick] for c in clips
        ]
        age = torch.full((batch,), tick)
        end = torch.full((batch,), clip_frames - 1 if ended else _UNKNOWN_END)
        results = graph(*frames, age, end, *(e for elements in past for e in elements))
        newest, made = results[: len(updates)], results[len(updates) :]
        return dict(zip(nodes, made, strict=True)), push_newest(past, updates, newest)


def run_clip(
    clip_graph: fx.GraphModule, clips: Sequence[Tensor], wanted: set[str]
) -> dict[str, Tensor]:
    """Run a clip network, and return the values of the named nodes."""
    interpreter = _Interpreter(clip_graph, wanted)
    interpreter.run(*clips)
    return interpreter.kept


class _Interpreter(fx.Interpreter):
    def __init__(self, clip_graph: fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(clip_graph)
        self._wanted = wanted
        self.kept: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._wanted:
            self.kept[n.name] = value
        return value
