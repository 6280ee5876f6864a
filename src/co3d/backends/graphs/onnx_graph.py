"""Exports a step graph to ONNX."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from co3d.backends.graphs.placement import Placement
from co3d.errors import ExportError
from co3d.packages import require_package

if TYPE_CHECKING:
    import onnx

OPSET = 20


def write_onnx(
    graph: fx.GraphModule,
    examples: Sequence[Tensor],
    names: tuple[Sequence[str], Sequence[str]] | None = None,
) -> "onnx.ModelProto":
    """Export a step graph for inputs of these shapes.

    Every output is a tensor of its own, even where the graph returns an input or returns a value
    twice. Outputs that are None are left out.

    Args:
        graph: the step graph.
        examples: one tensor per input, of its shape and dtype.
        names: the names of inputs and of outputs that are not None; by default the names of the
            graph's placeholders, and `output0`, `output1`, …

    Raises:
        MissingPackageError: onnx or onnxscript is not installed.
        ExportError: ONNX has no form for one of its operators.
    """
    for package in ("onnx", "onnxscript"):
        require_package(package, extra="onnxruntime")
    module = Placement(torch.float32, torch.device("cpu"))(_with_own_outputs(graph))
    results = next(n for n in module.graph.nodes if n.op == "output").args[0]
    assert isinstance(results, tuple)
    inputs, outputs = names or (list_inputs(graph), [f"output{i}" for i in range(len(results))])
    # The exporter reads shapes and dtypes only. All runtimes take contiguous float32.
    plain = tuple(
        torch.zeros(e.shape, dtype=torch.float32 if e.is_floating_point() else e.dtype)
        for e in examples
    )
    try:
        with _quiet():
            exported = torch.onnx.export(
                module,
                plain,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[:1]
        raise ExportError(
            f"cannot write a step graph as ONNX: {''.join(reason)}; use backend='torch' or "
            "'native', or format='torch'"
        ) from error
    assert exported is not None
    return exported.model_proto


def list_inputs(graph: fx.GraphModule) -> list[str]:
    """Names of a step graph's inputs, in their order."""
    return [node.name for node in graph.graph.nodes if node.op == "placeholder"]


def _with_own_outputs(graph: fx.GraphModule) -> fx.GraphModule:
    """Drop outputs that are None, and copy those that are inputs or occur twice."""
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph.graph, {}))
    output = next(n for n in copied.nodes if n.op == "output")
    seen: set[fx.Node] = set()
    results = []
    for node in output.args[0]:  # type: ignore[union-attr]
        if not isinstance(node, fx.Node):
            continue
        if node in seen or node.op == "placeholder":
            with copied.inserting_before(output):
                node = copied.call_function(torch.clone, (node,))  # noqa: PLW2901
        seen.add(node)
        results.append(node)
    output.args = (tuple(results),)
    return fx.GraphModule(graph, copied)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about optional packages and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
