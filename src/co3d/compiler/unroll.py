"""Unrolls a clip network to one graph over single frames, for executors of step graphs."""

import torch
from torch import fx

from co3d.compiler.analyse import Analysis, analyse, output_nodes
from co3d.compiler.capture import EXPORT_BATCH
from co3d.compiler.graph_builder import GraphBuilder
from co3d.compiler.program import StepProgram
from co3d.compiler.rules import Lowering, Use
from co3d.compiler.rules.layout import emit_clip, emit_rows_folded
from co3d.errors import ConversionError


def unroll_clip(program: StepProgram) -> fx.GraphModule:
    """The clip network that a program came from, as a graph over the frames of a clip.

        a convolution of three frames, padding 1:

        frames     0    1    2    3
        elements   0 ← (fill, 0, 1)    1 ← (0, 1, 2)    2 ← (1, 2, 3)    3 ← (2, 3, fill)

    It uses the lowerings of the steps, and computes every element of every value once, like the
    clip network.

    Returns:
        `forward(*frames) -> (*outputs,)`, with frames (N, C, H, W), those of the first input in
        their order, then those of the next; outputs as the clip network returns them.

    Raises:
        ConversionError: the program reruns part of the network on whole clips (`fallback`).
    """
    if program.fallbacks:
        raise ConversionError(
            f"cannot unroll {program.name}: {', '.join(program.fallbacks)} has no step form; run "
            "the clip network itself"
        )
    analysis = analyse(program.clip_graph, program.clip_frames, EXPORT_BATCH)
    return ClipBuilder(analysis, program.clip_frames).build(program.clip_graph)


class ClipBuilder(GraphBuilder):
    """Builds the graph of a clip element by element."""

    def __init__(self, analysis: Analysis, clip_frames: int) -> None:
        super().__init__()
        self._analysis, self._clip_frames = analysis, clip_frames
        self._elements: dict[tuple[fx.Node, int], fx.Node] = {}
        self._outside: dict[tuple[tuple[int, ...], int, float, torch.dtype], fx.Node] = {}
        # The lowering that is being emitted, and the tick of its element in a stream.
        self._lowering: Lowering | None = None
        self._tick = 0

    def build(self, clip_graph: fx.GraphModule) -> fx.GraphModule:
        """Emit all elements that the results depend on."""
        for node in clip_graph.graph.nodes:
            if node.op == "placeholder":
                for t in range(self._clip_frames):
                    self._elements[node, t] = self.graph.placeholder(f"{node.name}_{t}")
        self.frames = list(self._elements.values())
        for node, lowering in self._analysis.lowerings.items():
            type_ = lowering.type
            for j in range(self._count(node)):
                self._tick = j * type_.stride + type_.delay
                self._lowering = variant = lowering.at(self._tick)
                frames = [self._read(use) for use in variant.uses]
                self._elements[node, j] = variant.emit(self, frames)
        return self.finish(tuple(map(self._gather, output_nodes(clip_graph))), "Clip")

    def are_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """See `Builder.are_inside`; (1, K) here, as all clips of a batch have the same length."""
        inside = self._list_inside(before, after)
        return None if all(inside) else self.constant(torch.tensor([inside]))

    def count_inside(self, before: int = 0, after: int = 0) -> fx.Node | None:
        """See `Builder.count_inside`; (1,) here."""
        inside = self._list_inside(before, after)
        return None if all(inside) else self.constant(torch.tensor([max(sum(inside), 1)]))

    def _list_inside(self, before: int, after: int) -> list[bool]:
        assert self._lowering is not None
        uses, types = self._lowering.uses, self._analysis.types
        last = types[uses[0].node].horizon(self._clip_frames) + after
        positions = [self._tick - use.back - types[use.node].delay for use in uses]
        return [-before <= position <= last for position in positions]

    def _count(self, node: fx.Node) -> int:
        """Number of elements of a value in the clip."""
        type_ = self._analysis.types[node]
        return type_.last_position(self._clip_frames) // type_.stride + 1

    def _read(self, use: Use) -> fx.Node:
        """The element that a use reads at this tick, or its fill outside the clip."""
        type_ = self._analysis.types[use.node]
        j, rest = divmod(self._tick - use.back - type_.delay, type_.stride)
        assert rest == 0, (use, self._tick, type_)
        if (use.node, j) in self._elements:
            return self._elements[use.node, j]
        value = use.node.meta["val"]
        shape = tuple(value.shape)
        key = (type_.frame_shape(shape), type_.step_rows, use.fill or 0.0, value.dtype)
        if key not in self._outside:
            _, _, fill, dtype = key
            # Floats take the dtype of the frames, which is the executor's.
            kind = {} if dtype.is_floating_point else {"dtype": dtype}
            full = (self.batch_size(), *type_.frame_shape(shape))
            make = torch.ops.aten.new_full.default
            outside = self.call(make, self.frames[0], full, fill, **kind)
            self._outside[key] = emit_rows_folded(self, outside, type_, shape)
        return self._outside[key]

    def _gather(self, node: fx.Node) -> fx.Node:
        """An output as the clip network returns it: its last element, or all along time."""
        type_, count = self._analysis.types[node], self._count(node)
        if type_.is_pooled:
            return self._elements[node, count - 1]
        elements = [self._elements[node, j] for j in range(count)]
        return emit_clip(self, elements, type_, tuple(node.meta["val"].shape))
