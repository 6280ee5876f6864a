"""The format `onnx`: one step graph for all ages of a stream, for ONNX Runtime and OpenVINO."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from co3d.backends.graphs.onnx_graph import write_onnx
from co3d.compiler.program import Program, StepProgram
from co3d.errors import ExportedFileError, ExportError
from co3d.export.description import CLOCKS, KEY, name_inputs, name_outputs
from co3d.export.onnx_limits import check_onnx
from co3d.packages import require_package
from co3d.runtime.clock import FAR_END

if TYPE_CHECKING:
    import onnx


def make_onnx(program: StepProgram, slots: int) -> "onnx.ModelProto":
    """Make the step graph for all ages and a number of slots, with named inputs and outputs.

    Raises:
        ExportError: the program has several phases, so no single graph.
        MissingPackageError: onnx or onnxscript is not installed.
    """
    phase, *others = program.phases
    if others:
        raise ExportError(
            f"cannot export {program.name} at its native rate: it has {len(program.phases)} step "
            "graphs in turn, and this format holds one; use --rate dense or --format torch"
        )
    graph = phase.masked or phase.steady
    names = (name_inputs(program), name_outputs(program))
    return write_onnx(graph, make_examples(program, slots), names)


def make_examples(program: Program[Any], slots: int) -> list[Tensor]:
    """The inputs of a stream's first step: blank frames, ages 0, unknown ends, filled states."""
    frames = [torch.zeros(slots, *shape) for shape in program.frame_shapes]
    starts = {"age": 0, "end": FAR_END}
    clocks = [torch.full((slots,), starts[name]) for name in CLOCKS[program.edges]]
    past = [
        torch.full((slots, *spec.shape), spec.fill, dtype=spec.dtype)
        for spec in program.states
        for _ in range(spec.depth)
    ]
    return [*frames, *clocks, *past]


def write_onnx_file(model: "onnx.ModelProto", description: str, path: Path) -> None:
    """Check a model, and write it with its description."""
    import onnx

    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=description)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def read_onnx_file(path: Path, most_bytes: int | None) -> tuple[str, bytes]:
    """Read and check a file; returns its description and its bytes.

    Args:
        most_bytes: the most bytes that a value may take; None checks no operators and values.

    Raises:
        ExportedFileError: it is not ONNX, was not written by `co3d export`, or needs too much
            memory.
        MissingPackageError: onnx is not installed.
    """
    onnx = require_package("onnx", extra="onnxruntime")
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
        properties: Sequence[Any] = model.metadata_props
        outside = any(t.data_location == t.EXTERNAL for t in _list_tensors(model))
        found = [entry.value for entry in properties if entry.key == KEY]
    except Exception as error:
        raise ExportedFileError(
            f"cannot read {path} as ONNX ({str(error)[:200]}); pass a file that `co3d export` wrote"
        ) from error
    if outside:
        raise ExportedFileError(
            f"cannot run {path}: it keeps weights outside of itself, where they could be anything; "
            "pass a file that `co3d export` wrote"
        )
    if not found:
        raise ExportedFileError(
            f"cannot run {path}: it is ONNX without a description of its state; pass a file that "
            "`co3d export` wrote"
        )
    try:
        if most_bytes is not None:
            check_onnx(model, str(path), most_bytes)
    except UnicodeDecodeError as error:
        raise ExportedFileError(
            f"cannot read {path} as ONNX ({error}); pass a file that `co3d export` wrote"
        ) from error
    return found[0], data


def _list_tensors(message: Any) -> Iterator[Any]:
    """Yield all tensors in an ONNX message, at any depth: in graphs, nodes and functions."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                if field.message_type.name == "TensorProto":
                    yield part
                if hasattr(part, "ListFields"):
                    yield from _list_tensors(part)
