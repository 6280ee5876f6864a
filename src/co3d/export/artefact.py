"""Writes a step program to one self-describing file, and reads it back."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, fx

from co3d.arguments import check_arguments
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.table import PRECISIONS as DTYPES
from co3d.compiler.program import Phase, StepProgram
from co3d.errors import ExportedFileError, ExportError, OptionError, SourceNotFoundError
from co3d.export.budget import MOST_BYTES, check_state, check_values
from co3d.export.description import CLOCKS, Description, describe, name_inputs, read_description
from co3d.export.onnx_file import make_onnx, read_onnx_file, write_onnx_file
from co3d.export.openvino_file import read_openvino_file, write_openvino_file
from co3d.export.torch_file import pack_torch, read_torch
from co3d.files import output_file
from co3d.models.card import ModelCard
from co3d.packages import require_package
from co3d.runtime.stored_program import StoredProgram

Format = Literal["onnx", "openvino", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".safetensors"}
PRECISIONS: dict[Format, tuple[str, ...]] = {
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
    "torch": ("float32",),
}


@dataclass(frozen=True)
class Artefact:
    """The content of an exported file.

    Attributes:
        program: the step program, for `open_stream`.
        card: how to prepare pictures; None if the file has no card.
    """

    program: StoredProgram
    card: ModelCard | None


@check_arguments(program="convert the network first: co3d.convert(model, clip_shape)")
def export_program(
    program: StepProgram,
    path: str | Path,
    *,
    format: Format,  # noqa: A002 - the usual word
    card: ModelCard | None = None,
    precision: str = "float32",
    slots: int = 1,
    calibration: Iterable[Tensor] | None = None,
) -> str:
    """Write a step program as a file that runs without the model's Python code.

    `onnx` and `openvino` contain one graph, (frame, age, state.NAME.1 …) -> (output, new_state.NAME
    …). The caller passes every state's elements, newest first; after a step it drops the oldest and
    puts the returned element in front. `torch` contains all graphs, for any backend of co3d.

    Args:
        program: from `convert`, in float32.
        path: ends in .onnx, .xml (with the weights in a .bin file next to it) or .safetensors.
        format: "onnx", "openvino" or "torch".
        card: how to prepare pictures; stored in the file.
        precision: "float32"; with openvino also "bfloat16"; with both "int8".
        slots: videos that step together, at least 1; "torch" files take any number.
        calibration: for "int8": some hundred preprocessed frames (1, C, H, W) of one stream, in
            order, from which value ranges are measured; they should be as varied as later input.

    Returns:
        The description that is stored in the file, JSON.

    Raises:
        OptionError: a format, precision, suffix or number of slots is out of range.
        ExportError: a native-rate program in a format that contains one graph.
        MissingPackageError: the format's package is not installed.
        OutputError: the file cannot be written; an earlier file is then unchanged.
    """
    path = Path(path)
    _check(path, format, precision, slots)
    if program.dtype != torch.float32:
        raise ExportError(
            f"cannot export {program.name}: got {program.dtype}, expected torch.float32; convert "
            "model.float()"
        )
    if format != "torch" and program.graph_slots not in (None, slots):
        raise OptionError(
            f"cannot export {program.name} for {slots} slots: its graphs are for "
            f"{program.graph_slots}, since a part of it is rerun on the newest clip and may mix "
            "the rows of a batch; leave slots out"
        )
    if (precision == "int8") != (calibration is not None):
        raise OptionError(
            f"cannot export in {precision}: calibration frames and precision='int8' go together; "
            "give both or neither"
        )
    fixed = None if format == "torch" else slots
    description = describe(program, card, slots=fixed, precision=precision)
    with ExitStack() as outputs:  # writes both files of OpenVINO, or neither
        whole = outputs.enter_context(output_file(path))
        if format == "torch":
            whole.write_bytes(pack_torch(program, description))
            return description
        model = make_onnx(program, slots)
        if calibration is not None:
            require_package("onnxruntime", extra="onnxruntime")
            from co3d.export.quantise import quantise

            model = quantise(model, program, slots, calibration)
        if format == "onnx":
            write_onnx_file(model, description, whole)
            return description
        weights = outputs.enter_context(output_file(path.with_suffix(".bin")))
        count = len(program.output_shapes)
        write_openvino_file(model, count, DTYPES[precision], description, (whole, weights))
    return description


def is_exported(name: str) -> bool:
    """Whether a name is an exported file's, by its suffix, and not a registered model's."""
    return Path(name).suffix in SUFFIXES.values()


@check_arguments()
def load_program(path: str | Path, *, most_bytes: int | None = MOST_BYTES) -> Artefact:
    """Read a file of `export_program`, without running code from it.

    Args:
        path: the file's path.
        most_bytes: the most bytes that the state of one stream, or any value of a step, may take. A
            value may also take at most 64 times the file's own bytes (or 64 MB). None checks
            nothing, for trusted files.

    Raises:
        SourceNotFoundError: there is no such file.
        ExportedFileError: the file is of another kind, damaged or hostile.
        MissingPackageError: the format's package is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceNotFoundError(f"cannot run {path}: there is no such file; check the path")
    formats: dict[str, Format] = {suffix: name for name, suffix in SUFFIXES.items()}
    found = formats.get(path.suffix)
    if found is None:
        raise ExportedFileError(
            f"cannot run {path}: got the suffix {path.suffix!r}, expected one of "
            f"{', '.join(formats)}; pass a file that `co3d export` wrote"
        )
    if found == "torch":
        text, phases = read_torch(path)
        description = read_description(text, str(path))
        program = _build(description, phases)
        _check_phases(program, path)
        if most_bytes is not None:
            check_state(program, str(path), most_bytes)
            check_values(program, str(path), most_bytes)
        return Artefact(program, description.card)
    weights = b""
    try:
        if found == "onnx":
            text, data = read_onnx_file(path, most_bytes)
        else:
            text, data, weights = read_openvino_file(path, most_bytes)
    except OSError as error:
        raise ExportedFileError(
            f"cannot read {path}: {error.strerror}; check its permissions"
        ) from error
    description = read_description(text, str(path))
    outline = _build(description, ())
    if most_bytes is not None:
        check_state(outline, str(path), most_bytes)
    is_made = [True] * (len(outline.output_shapes) + len(outline.states))
    graph = StoredGraph(found, data, name_inputs(outline), is_made, weights)
    # Unless edges is "none", the graph has clock inputs and is used for all ages.
    masked = None if outline.edges == "none" else graph
    phase = Phase[StepGraph](graph, masked, tuple(range(len(outline.states))), True, 0)
    return Artefact(_build(description, (phase,)), description.card)


def _build(description: Description, phases: tuple[Phase[StepGraph], ...]) -> StoredProgram:
    fields = description.fields
    if description.slots is not None:
        fields = {**fields, "graph_slots": description.slots}
    return StoredProgram(
        **fields,
        phases=phases,
        slots=description.slots,
        precision=None if description.slots is None else description.precision,
        own_fingerprint=description.fingerprint,
    )


def _check_phases(program: StoredProgram, path: Path) -> None:
    """Check that graphs match the states and edges in the file's description.

    Raises:
        ExportedFileError: they do not; the message names the difference.
    """
    past = sum(spec.depth for spec in program.states)
    given = len(program.frame_shapes) + past
    clocks = len(CLOCKS[program.edges])
    complaint = None
    if {i for phase in program.phases for i in phase.updates} != set(range(len(program.states))):
        complaint = f"its graphs do not update the {len(program.states)} states"
    for phase in program.phases:
        if (phase.masked is not None) != (program.edges != "none"):
            complaint = f"masks do not go with edges={program.edges!r}"
        made = len(program.output_shapes) + len(phase.updates)
        for graph, inputs in ((phase.steady, given), (phase.masked, given + clocks)):
            if isinstance(graph, fx.GraphModule) and _count_ends(graph) != (inputs, made):
                complaint = f"a graph has {_count_ends(graph)} inputs and outputs, expected "
                complaint += f"{(inputs, made)}"
    if complaint is not None:
        raise ExportedFileError(f"cannot read {path}: {complaint}; export the network again")


def _count_ends(graph: fx.GraphModule) -> tuple[int, int]:
    """How many inputs and outputs a step graph has."""
    nodes = list(graph.graph.nodes)
    return sum(node.op == "placeholder" for node in nodes), len(nodes[-1].args[0])


def _check(path: Path, format: Format, precision: str, slots: int) -> None:  # noqa: A002
    if format not in get_args(Format):
        raise OptionError(
            f"cannot export: got format {format!r}, expected one of {', '.join(get_args(Format))}"
        )
    if path.suffix != SUFFIXES[format]:
        raise OptionError(
            f"cannot export to {path}: got the suffix {path.suffix!r}, expected "
            f"{SUFFIXES[format]!r} for {format}; name the file so"
        )
    if precision not in PRECISIONS[format]:
        raise OptionError(
            f"cannot export: {format} files have no precision {precision!r}, expected one of "
            f"{', '.join(PRECISIONS[format])}"
        )
    if slots < 1:
        raise OptionError(f"cannot export: got slots={slots}, expected at least 1")
