"""Conversion costs work in proportion to the number of operators: no pass searches the whole graph
for each of them.

Work is counted, not timed: the lines that run in the compiler, and the Python functions that are
called anywhere. The graphs are written here, since torch.export takes its time for them.
"""

import operator
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_structure

import co3d.compiler
from co3d.compiler.assemble import assemble
from co3d.compiler.capture import EXPORT_BATCH, Captured, Origin
from co3d.compiler.options import ConvertOptions
from co3d.compiler.pipeline import prepare_captured, settle_timing

_ATEN = torch.ops.aten
SHAPE = (4, 4, 2, 2)
# A few parts in a hundred for what grows with the logarithm; a search grows with the square.
MOST = 1.1


class Writer:
    """Writes a captured graph by hand."""

    def __init__(self) -> None:
        self.root, self.graph = nn.Module(), fx.Graph()
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._origin = Origin("block", "Block", "")
        self._constants = 0
        self.operators = 0
        self.clip = self.graph.placeholder("clip")
        self._note(self.clip, self._mode.from_tensor(torch.zeros(EXPORT_BATCH, *SHAPE)))

    def constant(self, tensor: Tensor) -> fx.Node:
        name = f"weight{self._constants}"
        self._constants += 1
        self.root.register_buffer(name, tensor)
        return self._note(self.graph.get_attr(name), self._mode.from_tensor(tensor))

    def call(self, target: Any, *args: Any) -> fx.Node:
        self.operators += 1
        node = self.graph.call_function(target, args)
        with self._mode:
            return self._note(node, target(*fx.map_arg(args, lambda n: n.meta["val"])))

    def finish(self, result: fx.Node) -> Captured:
        self.graph.output(result)
        return Captured(fx.GraphModule(self.root, self.graph), tree_structure(0), {})

    def _note(self, node: fx.Node, value: Any) -> fx.Node:
        node.meta = {"val": value, "origin": self._origin}
        return node


def convolve(writer: Writer, x: fx.Node) -> fx.Node:
    """A convolution in time, its batch norm, and a shortcut with a delay line."""
    weight, one = writer.constant(torch.ones(4, 4, 3, 1, 1)), torch.ones(4)
    conv = writer.call(_ATEN.conv3d.default, x, weight, None, [1, 1, 1], [1, 0, 0])
    statistics = [writer.constant(one) for _ in range(4)]
    norm = _ATEN._native_batch_norm_legit_no_training.default
    normed = writer.call(norm, conv, *statistics, 0.1, 1e-5)
    return writer.call(_ATEN.add.Tensor, writer.call(operator.getitem, normed, 0), x)


def gate(writer: Writer, x: fx.Node) -> fx.Node:
    """Squeeze-and-excitation."""
    weight = writer.constant(torch.ones(4, 4, 1, 1, 1))
    pooled = writer.call(_ATEN.mean.dim, x, [2, 3, 4], True)
    hidden = writer.call(_ATEN.conv3d.default, pooled, weight, None)
    return writer.call(_ATEN.mul.Tensor, x, writer.call(_ATEN.sigmoid.default, hidden))


def flat_gate(writer: Writer, x: fx.Node) -> fx.Node:
    """Squeeze-and-excitation with linear layers, without axes of space."""
    weight = writer.constant(torch.ones(4, 4))
    pooled = writer.call(_ATEN.mean.dim, x, [2, 3, 4])
    hidden = writer.call(_ATEN.linear.default, pooled, weight)
    shaped = writer.call(_ATEN.view.default, hidden, [EXPORT_BATCH, 4, 1, 1, 1])
    return writer.call(_ATEN.mul.Tensor, x, shaped)


def shift(writer: Writer, x: fx.Node) -> fx.Node:
    """A shift by a frame (zeros before a slice), operators with several results, and stacks."""
    zeros = writer.constant(torch.zeros(EXPORT_BATCH, 4, 1, 2, 2))
    cut = writer.call(_ATEN.slice.Tensor, x, 2, 0, -1)
    late = writer.call(_ATEN.cat.default, [zeros, cut], 2)
    halves = writer.call(_ATEN.split.Tensor, late, 2, 1)
    parts = [writer.call(operator.getitem, halves, i) for i in (0, 1)]
    return writer.call(_ATEN.cat.default, parts[::-1], 1)


def grow(writer: Writer, x: fx.Node) -> fx.Node:
    """A concatenation with a value, which is sliced off again."""
    joined = writer.call(_ATEN.cat.default, [x, writer.call(_ATEN.relu.default, x)], 1)
    return writer.call(_ATEN.slice.Tensor, joined, 1, 2, 6)


def pool(writer: Writer, x: fx.Node) -> fx.Node:
    """A maximum in time and space, with a state of another fill."""
    return writer.call(_ATEN.max_pool3d.default, x, [3, 3, 3], [1, 1, 1], [1, 1, 1])


BLOCKS = [convolve, gate, flat_gate, shift, grow, pool]


def write(blocks: list[Callable[[Writer, fx.Node], fx.Node]], operators: int) -> Captured:
    """Write blocks until there are this many operators."""
    writer = Writer()
    x = writer.clip
    while writer.operators < operators:
        for block in blocks:
            x = block(writer, x)
    return writer.finish(x)


def count_work(run: Callable[[], object]) -> int:
    """Lines that run in the compiler, and calls of Python functions anywhere."""
    folder = co3d.compiler.__path__[0]
    count = 0

    def trace_line(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace_line

    def trace_call(frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal count
        count += 1
        return trace_line if frame.f_code.co_filename.startswith(folder) else None

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def convert_captured(captured: Captured, options: ConvertOptions) -> None:
    assemble(settle_timing(prepare_captured(captured, "Network", [SHAPE], options)))


@pytest.mark.parametrize(
    ("blocks", "options", "few", "many"),
    [
        pytest.param(*(BLOCKS, ConvertOptions(edges="both"), 1250, 5000), marks=pytest.mark.slow),
        ([gate, flat_gate], ConvertOptions(scope="window"), 200, 800),
    ],
    ids=["all kinds", "gates over windows"],
)
def test_work_grows_linearly_with_operators(
    blocks: list[Callable[[Writer, fx.Node], fx.Node]],
    options: ConvertOptions,
    few: int,
    many: int,
) -> None:
    # What is imported and cached at the first call is no part of the growth.
    convert_captured(write(blocks, 50), options)
    small, large = (write(blocks, operators) for operators in (few, many))
    work = count_work(lambda: convert_captured(small, options))
    most = MOST * work * many / few
    assert count_work(lambda: convert_captured(large, options)) <= most
