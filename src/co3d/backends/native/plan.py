"""Lowers a step graph to native operations, and to PyTorch for operators without a kernel."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Convolve, Group, MaxPool, Mean, Select, SumDepthwise, View
from co3d.backends.fusion.plan import FusedPlan
from co3d.backends.native.memory import Arena, lay_out
from co3d.backends.native.nchw import can_read_nchw, is_nchw
from co3d.backends.native.operation import NONE, Kind, Operation
from co3d.backends.native.prefetch import LEAST_ELEMENT_BYTES, plan_prefetches
from co3d.backends.native.weights import WeightPacker


@dataclass(frozen=True)
class NativeSteps:
    """Operations that the kernels run one after the other."""

    operations: Any
    count: int


@dataclass(frozen=True)
class TorchStep:
    """A node that PyTorch runs; kernels find its result in `buffer`."""

    node: fx.Node
    buffer: int


@dataclass
class Plan:
    """The operations and buffers of one step graph. Buffers are indices of a table of addresses.

    Attributes:
        steps: what runs, in order.
        buffers: how many buffers there are.
        constants: the packed weights, by buffer.
        inputs: the buffer of each input that kernels read, by the input's position.
        frames: the positions of the inputs that are frames. They are copied to NHWC before a step;
            frames that are also newest elements of state are copied to that state's block.
        nchw: those of `frames` that kernels read in NCHW as given, and which are not copied.
        workspace: the offset in bytes of each buffer in the workspace of `workspace_bytes`.
        made: the buffer of each output that kernels write, by node.
        views: the buffer of each value that kernels write, by node.
        clocks: the buffer of each value that depends on clocks alone and that kernels read, by
            node.
    """

    steps: list[NativeSteps | TorchStep] = field(default_factory=list)
    buffers: int = 0
    constants: dict[int, Tensor] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    frames: set[int] = field(default_factory=set)
    nchw: set[int] = field(default_factory=set)
    workspace: dict[int, int] = field(default_factory=dict)
    workspace_bytes: int = 0
    made: dict[fx.Node, int] = field(default_factory=dict)
    views: dict[fx.Node, int] = field(default_factory=dict)
    clocks: dict[fx.Node, int] = field(default_factory=dict)


class Planner:
    """Plans one step graph.

    Args:
        fused: the step graph as an ordered list of fused groups.
        dtype: of state, and of the values that kernels read and write.
        weights: packs the weights.
        examples: one tensor per input.
        count_chunks: gives the number of chunks that kernels split an operation into.
    """

    def __init__(
        self,
        fused: FusedPlan,
        dtype: torch.dtype,
        weights: WeightPacker,
        examples: Sequence[Tensor],
        count_chunks: Callable[[Operation], int],
    ) -> None:
        self.fused = fused
        self._dtype = dtype
        self._weights, self._count_chunks = weights, count_chunks
        self._lanes = weights.lanes
        self.plan = Plan()
        self._buffers: dict[fx.Node, int] = {}
        self._packed: dict[int, int] = {}
        # For each mean: the buffer of its partial sums, and their number.
        self._sums: dict[fx.Node, int] = {}
        self._chunks: dict[fx.Node, int] = {}
        self._arena = Arena()
        for position, (node, example) in enumerate(zip(fused.inputs, examples, strict=True)):
            if example.is_floating_point() and (example.dtype != dtype or is_nchw(example)):
                self.plan.frames.add(position)
                if is_nchw(example) and can_read_nchw(node, fused.groups, fused.fused_away):
                    self.plan.nchw.add(position)

    def make(self) -> Plan:
        """The plan."""
        written, read_by_torch = self.fused.written, self.fused.read_by_torch
        for node in self.fused.outputs:
            if node is not None and node in written:
                self.plan.made.setdefault(node, self._add_buffer(node))
        for position in sorted(self.plan.frames - self.plan.nchw):
            node = self.fused.inputs[position]
            if node in self.fused.newest:
                self.plan.made[node] = self.plan.inputs[position] = self._add_buffer(node)
        operations: list[Operation] = []
        for node, dead in zip(self.fused.order, self.fused.dead_after, strict=True):
            group = self.fused.groups.get(node)
            if isinstance(group, View):
                self._buffers[node] = self._buffer(group.source)
            elif group is not None:
                operations.append(self._lower(node, group))
            elif node not in self.fused.clock_nodes:
                self._flush(operations)
                self.plan.steps.append(TorchStep(node, self._add_buffer(node)))
            for value in dead:
                # What PyTorch makes may be a view of what it reads.
                if value not in read_by_torch:
                    self._arena.release(value)
        self._flush(operations)
        self.plan.workspace_bytes = self._arena.size
        return self.plan

    def _lower(self, node: fx.Node, group: Group) -> Operation:
        if isinstance(group, Convolve):
            made = self._lower_convolve(node, group)
        elif isinstance(group, SumDepthwise):
            made = self._lower_depthwise(node, group)
        elif isinstance(group, MaxPool):
            made = self._lower_max_pool(node, group)
        else:
            made = Operation(Kind.MEAN if isinstance(group, Mean) else Kind.SELECT, [], [])
            assert isinstance(group, Mean | Select)
            self._set_source(made, group.source)
            made.out_channels = self._map_shape(group.source)[1]
            if isinstance(group, Mean):
                made.sums, made.source_count = self._sums[node], self._chunks[node]
            else:
                made.sources[0], made.source_count = self._buffer(group.source), 1
                made.gate, made.fill = self._clock_buffer(group.mask), group.fill
        made.out = self._take(node)
        return made

    def _lower_convolve(self, node: fx.Node, group: Convolve) -> Operation:
        channels = [self._map_shape(source)[1] for source in group.sources]
        made = Operation(Kind.CONVOLVE, [self._buffer(s) for s in group.sources], channels)
        self._set_geometry(made, node, group.sources[0], group)
        made.in_channels, made.out_channels = sum(channels), group.weight.shape[0]
        made.source_activation = group.source_activation
        made.is_nchw = self._is_nchw_source(group.sources[0])
        if made.is_nchw:
            made.weight = self._constant(self._weights.pack_nchw(group.weight))
        else:
            made.weight = self._constant(self._weights.pack_dense(group.weight, channels))
        made.bias = self._constant(self._weights.pack_bias(group.bias, group.weight.shape[0]))
        made.gate = NONE if group.gate is None else self._buffer(group.gate)
        made.residual = NONE if group.residual is None else self._buffer(group.residual)
        made.is_float_result = self.is_float_result(node)
        return made

    def _lower_depthwise(self, node: fx.Node, group: SumDepthwise) -> Operation:
        channels = self._map_shape(group.sources[0])[1]
        sources = [self._buffer(source) for source in group.sources]
        made = Operation(Kind.SUM_DEPTHWISE, sources, [channels] * len(sources))
        self._set_geometry(made, node, group.sources[0], group)
        made.in_channels = made.out_channels = channels
        made.scale = group.scale
        if group.divisor is not None:
            made.gate = self._clock_buffer(group.divisor)
        sums = [group, *group.additional.values()]
        weights = [one.weights for one in sums if one.weights is not None]
        if weights:
            made.weight = self._constant(self._weights.pack_depthwise(weights))
        if any(one.bias is not None for one in sums):
            biases = [self._weights.pack_bias(one.bias, channels) for one in sums]
            made.bias = self._constant(torch.stack(biases))
        made.added_count, made.additional_count = len(group.added), len(group.additional)
        for i, added in enumerate(group.added):
            made.added[i] = self._buffer(added)
        for i, node in enumerate(group.additional):
            made.additional[i] = self._take(node)
        if group.mean is not None:
            vectors = -(-channels // self._lanes)
            self._chunks[group.mean] = self._count_chunks(made)
            size = self._chunks[group.mean] * made.batch * vectors * self._lanes * 4
            made.sums = self._sums[group.mean] = self._add_workspace(group.mean, size)
        return made

    def _lower_max_pool(self, node: fx.Node, group: MaxPool) -> Operation:
        channels = self._map_shape(node)[1]
        sources = [self._buffer(source) for source in group.sources]
        made = Operation(Kind.MAX_POOL, sources, [channels] * len(sources))
        self._set_geometry(made, node, group.sources[0], group)
        made.in_channels = made.out_channels = channels
        return made

    def _set_geometry(
        self,
        made: Operation,
        node: fx.Node,
        source: fx.Node,
        group: Convolve | SumDepthwise | MaxPool,
    ) -> None:
        self._set_source(made, source)
        made.out_height, made.out_width = self._map_shape(node)[2:]
        if isinstance(group, Convolve):
            kernel = group.weight.shape[2:]
        elif isinstance(group, MaxPool) or group.weights is None:
            kernel = group.kernel
        else:
            kernel = group.weights[0].shape[1:]
        made.kernel_height, made.kernel_width = kernel
        made.stride_y, made.stride_x = group.geometry["stride"]
        made.padding_y, made.padding_x = group.geometry["padding"]
        made.dilation_y, made.dilation_x = group.geometry["dilation"]
        if not isinstance(group, MaxPool):
            made.activation = group.activation

    def _set_source(self, made: Operation, source: fx.Node) -> None:
        made.batch, _, made.height, made.width = self._map_shape(source)

    def _is_nchw_source(self, node: fx.Node) -> bool:
        return node.op == "placeholder" and self.fused.inputs.index(node) in self.plan.nchw

    def is_float_result(self, node: fx.Node) -> bool:
        """Whether a kernel writes this result in float32, because only the caller reads it."""
        return (
            isinstance(self.fused.groups.get(node), Convolve)
            and node in self.fused.results
            and node not in self.fused.newest
            and len(node.users) == 1
        )

    def _map_shape(self, node: fx.Node) -> tuple[int, ...]:
        """(N, C, H, W); values of other ranks count as one pixel, whose channels are their axes."""
        shape = tuple(self.fused.values[node].shape)
        if len(shape) == 4:
            return shape
        return shape[0], math.prod(shape[1:]), 1, 1

    def _take(self, node: fx.Node) -> int:
        """Assign the buffer that a kernel writes a value to."""
        if node in self.plan.made:
            index = self.plan.made[node]
        else:
            index = self._add_workspace(node, _count_bytes(self.fused.values[node]))
        self._buffers[node] = self.plan.views[node] = index
        return index

    def _clock_buffer(self, node: fx.Node) -> int:
        """The buffer that holds a mask of rows, or a divisor."""
        if node not in self.fused.clock_nodes:
            assert self.fused.values[node].dtype == torch.bool, node
            return self._buffers[node]  # a mask that PyTorch makes
        if node not in self.plan.clocks:
            self.plan.clocks[node] = self._next_buffer()
        return self.plan.clocks[node]

    def _buffer(self, node: fx.Node) -> int:
        """The buffer that holds a value in the kernels' dtype."""
        assert self.fused.values[node].dtype == self._dtype, node
        if node not in self._buffers:
            index = self._add_buffer(node)
            if node.op == "placeholder":
                self.plan.inputs[self.fused.inputs.index(node)] = index
            else:
                assert node.op == "get_attr", node
                self.plan.constants[index] = lay_out(getattr(self.fused.graph, str(node.target)))
        return self._buffers[node]

    def _add_buffer(self, node: fx.Node) -> int:
        self._buffers[node] = self._next_buffer()
        return self._buffers[node]

    def _next_buffer(self) -> int:
        self.plan.buffers += 1
        return self.plan.buffers - 1

    def _add_workspace(self, owner: fx.Node, size: int) -> int:
        index = self._next_buffer()
        self.plan.workspace[index] = self._arena.take(owner, size)
        return index

    def _constant(self, tensor: Tensor) -> int:
        if id(tensor) not in self._packed:
            self._packed[id(tensor)] = index = self._next_buffer()
            self.plan.constants[index] = tensor
        return self._packed[id(tensor)]

    def _flush(self, operations: list[Operation]) -> None:
        if operations:
            made = {
                index: _count_bytes(self.fused.values[node])
                for node, index in self.plan.made.items()
            }
            if not self._weights.has_amx or self._count_element_bytes() > LEAST_ELEMENT_BYTES:
                plan_prefetches(operations, self._count_passing_bytes(), made)
            array = (Operation * len(operations))(*operations)
            self.plan.steps.append(NativeSteps(array, len(operations)))
            operations.clear()

    def _count_passing_bytes(self) -> dict[int, int]:
        """Bytes of the buffers that a step reads and does not write: weights and past elements."""
        sizes = {index: _count_bytes(tensor) for index, tensor in self.plan.constants.items()}
        for position, index in self.plan.inputs.items():
            sizes[index] = _count_bytes(self.fused.values[self.fused.inputs[position]])
        return sizes

    def _count_element_bytes(self) -> int:
        """Bytes of the frames and elements of state that a step reads and writes."""
        newest = [n for n in self.fused.newest if n is not None]
        counted = (*self.fused.inputs, *newest)
        return sum(_count_bytes(self.fused.values[node]) for node in counted)


def _count_bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
