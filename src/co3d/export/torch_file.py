"""The format `torch`: all graphs of a step program in a safetensors file, for any backend."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.graphs.stored_graph import StepGraph
from co3d.compiler.program import Phase, StepProgram
from co3d.errors import ExportedFileError, ExportError
from co3d.export.description import KEY
from co3d.export.fx_json import UnknownOperatorError, read_graph, write_graph
from co3d.weights.safetensors_file import READ_ERRORS, pack_safetensors, read_safetensors

_PHASES, _LAST = "co3d.phases", "co3d.channels_last"
_LAYOUT = torch.channels_last
_SHOWN = 300


def pack_torch(program: StepProgram, description: str) -> bytes:
    """Write the graphs of all phases, and their shared weights, as the content of one file.

    Raises:
        ExportError: a graph calls an operator of a user's rule, which is not on the allowlist.
    """
    names: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}

    def name_tensor(tensor: Tensor) -> str:
        name = names.setdefault(id(tensor), f"constant{len(names)}")
        tensors[name] = tensor
        return name

    def write(graph: fx.GraphModule | None) -> Any:
        return None if graph is None else write_graph(graph, name_tensor)

    try:
        phases = [
            {
                "steady": write(phase.steady),
                "masked": write(phase.masked),
                "updates": phase.updates,
                "is_fresh": phase.is_fresh,
                "macs": phase.macs,
            }
            for phase in program.phases
        ]
    except UnknownOperatorError as error:
        raise ExportError(
            f"cannot export {program.name}: {error}; use format='onnx', whose operators are its own"
        ) from error
    # Files store tensors contiguously; which were channels-last is stored in the metadata.
    last = [
        name
        for name, t in tensors.items()
        if not t.is_contiguous() and t.dim() == 4 and t.is_contiguous(memory_format=_LAYOUT)
    ]
    metadata = {KEY: description, _PHASES: json.dumps(phases), _LAST: json.dumps(last)}
    return pack_safetensors(_part(tensors), metadata)


def _part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory, because safetensors refuses them."""
    seen: set[int] = set()
    parted = {}
    for name, tensor in tensors.items():
        laid = tensor.contiguous()
        storage = laid.untyped_storage()
        is_view = storage.nbytes() > laid.nbytes or storage.data_ptr() in seen
        parted[name] = laid.clone() if is_view else laid
        seen.add(storage.data_ptr())
    return parted


def read_torch(path: Path) -> tuple[str, tuple[Phase[StepGraph], ...]]:
    """Read the description and the step graphs of a file, without running them.

    Raises:
        ExportedFileError: the file was not written by `pack_torch`, or is damaged.
    """
    try:
        stored, metadata = read_safetensors(path)
        last = set(json.loads(metadata[_LAST]))
        # The file's memory is not aligned as PyTorch's is, and there the kernels of some processors
        # round differently.
        tensors = {
            name: tensor.clone(memory_format=_LAYOUT if name in last else torch.contiguous_format)
            for name, tensor in stored.items()
        }
        phases = tuple(_read_phase(raw, tensors) for raw in json.loads(metadata[_PHASES]))
        if not phases:
            raise ValueError("it has no phases")
        return metadata[KEY], phases
    except (*READ_ERRORS, ArithmeticError, AttributeError, IndexError, SyntaxError) as error:
        reason = str(error)[:_SHOWN]
        raise ExportedFileError(
            f"cannot read {path} ({type(error).__name__}: {reason}); pass a file that "
            "`co3d export --format torch` wrote"
        ) from error


def _read_phase(raw: dict[str, Any], tensors: dict[str, Tensor]) -> Phase[StepGraph]:
    return Phase(
        steady=read_graph(raw["steady"], tensors),
        masked=None if raw["masked"] is None else read_graph(raw["masked"], tensors),
        updates=tuple(map(int, raw["updates"])),
        is_fresh=bool(raw["is_fresh"]),
        macs=int(raw["macs"]),
    )
