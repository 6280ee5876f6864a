"""One self-describing file out of a step program, and a program that runs out of such a file."""

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
    """What an exported file holds.

    Attributes:
        program: for `open_stream`.
        card: how to feed it; None where the file does not say.
    """

    program: StoredProgram
    card: ModelCard | None


@check_arguments(program="convert the network first: co3d.convert(model, clip_shape)")
def export_program(
    program: StepProgram,
    path: str | Path,
    *,
    format: Format,  # noqa: A002 - the word that everybody uses for it
    card: ModelCard | None = None,
    precision: str = "float32",
    slots: int = 1,
    calibration: Iterable[Tensor] | None = None,
) -> str:
    """Write a step program as a file that runs without the model's Python code.

    `onnx` and `openvino` hold one graph, (frame, age, state.NAME.1 …) -> (output, new_state.NAME
    …): whoever runs it gives every state its newest elements first, drops the oldest and puts the
    returned one in front. `torch` holds all graphs of a program, for any backend of co3d.

    Args:
        program: from `convert`, in float32.
        path: ends in .onnx, .xml (the weights go beside it as .bin) or .safetensors.
        format: "onnx", "openvino" or "torch".
        card: how to feed the network; put into the file.
        precision: "float32"; with openvino also "bfloat16"; with both "int8".
        slots: videos that step together; "torch" takes any number later.
        calibration: for "int8", frames of a stream (1, C, H, W), preprocessed, in their order, on
            which ranges are measured; some hundreds, as varied as what is to come.

    Returns:
        What the file says of itself: JSON.

    Raises:
        OptionError: a format, precision, suffix or number of slots out of range.
        ExportError: a native-rate program in a format that holds one graph.
        MissingPackageError: the format's package is not installed.
        OutputError: the file cannot be written; what was there before stays.
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
    with ExitStack() as outputs:  # both files of OpenVINO, or neither
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
    """Whether a name is that of an exported file, by its suffix, and not of a registered model."""
    return Path(name).suffix in SUFFIXES.values()


@check_arguments()
def load_program(path: str | Path, *, most_bytes: int | None = MOST_BYTES) -> Artefact:
    """Read what `export_program` wrote; nothing in the file is run as Python.

    Args:
        path: of the file.
        most_bytes: that the state of one stream may take, and any value of a step; these may also
            take no more than 64 times what the file brings (or 64 MB). None for files of one's
            own, which are not looked at.

    Raises:
        SourceNotFoundError: there is no such file.
        ExportedFileError: the file is of another kind, broken or hostile.
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
    # The graph of a program with an edge knows of time, and serves all ages.
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
    """Refuse graphs that do not go with the states and edges that the file names.

    Raises:
        ExportedFileError: naming what differs.
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
