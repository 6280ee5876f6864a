"""A step graph in a file format that runtimes read: exported now, from the cache or from a file."""

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
        format: the file's format.
        data: the file's bytes. weights: those of the second file of OpenVINO's format.
        input_names: the names of the step graph's inputs, in order; the file may lack unused ones.
        is_made: for every output of the step graph, whether it is not None and so in the file.
    """

    format: Format
    data: bytes
    input_names: Sequence[str]
    is_made: Sequence[bool]
    weights: bytes = b""

    def find_used(self, names: Sequence[str]) -> list[int]:
        """The positions among the step graph's inputs of the file's inputs, given their names."""
        return [self.input_names.index(name) for name in names]

    def place(self, made: Sequence[Tensor]) -> list[Tensor | None]:
        """Insert None for the outputs that the file lacks."""
        source = iter(made)
        return [next(source) if here else None for here in self.is_made]


StepGraph = fx.GraphModule | StoredGraph


def store_as_onnx(graph: StepGraph, examples: Sequence[Tensor]) -> StoredGraph:
    """Export the graph to ONNX, or read it from the cache; a stored graph is returned as it is."""
    if isinstance(graph, StoredGraph):
        return graph
    results = next(n for n in graph.graph.nodes if n.op == "output").args[0]
    assert isinstance(results, tuple)
    is_made = [isinstance(result, fx.Node) for result in results]
    return StoredGraph("onnx", read_or_write_onnx(graph, examples), list_inputs(graph), is_made)
