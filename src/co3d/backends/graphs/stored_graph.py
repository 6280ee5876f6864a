"""A step graph in a file format, which runtimes read: written now, cached, or from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, fx

from co3d.backends.graphs.graph_cache import read_or_write_onnx
from co3d.backends.graphs.onnx_graph import list_inputs

Format = Literal["onnx", "openvino"]


@dataclass(frozen=True)
class StoredGraph:
    """A step graph as bytes.

    Attributes:
        format: what reads it.
        data: the file. weights: the second file of OpenVINO's format.
        input_names: of the step graph's inputs, in its order; the file may lack unused ones.
        is_made: for every result of the step graph whether the file makes it.
    """

    format: Format
    data: bytes
    input_names: Sequence[str]
    is_made: Sequence[bool]
    weights: bytes = b""

    def find_used(self, names: Sequence[str]) -> list[int]:
        """Which of the step graph's inputs the file's inputs of these names are."""
        return [self.input_names.index(name) for name in names]

    def place(self, made: Sequence[Tensor]) -> list[Tensor | None]:
        """What the file returns, in the places that it has in the step graph."""
        source = iter(made)
        return [next(source) if here else None for here in self.is_made]


StepGraph = fx.GraphModule | StoredGraph


def store_as_onnx(graph: StepGraph, examples: Sequence[Tensor]) -> StoredGraph:
    """The graph as ONNX, from the cache where it was exported before; stored ones as they are."""
    if isinstance(graph, StoredGraph):
        return graph
    results = next(n for n in graph.graph.nodes if n.op == "output").args[0]
    assert isinstance(results, tuple)
    is_made = [isinstance(result, fx.Node) for result in results]
    return StoredGraph("onnx", read_or_write_onnx(graph, examples), list_inputs(graph), is_made)
