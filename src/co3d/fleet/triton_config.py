"""`config.pbtxt`: Triton's description of a step program, and of how to batch its sequences."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from co3d.compiler.program import Program
from co3d.export.description import name_inputs, name_outputs

Strategy = Literal["direct", "oldest"]
PROGRAM_FILE, LABELS_FILE = "program.safetensors", "labels.txt"
START, END, READY = "START", "END", "READY"
VALID, FRESH = "valid", "fresh"
_FLUSHED = "flushed_"


@dataclass(frozen=True)
class OutputSpec:
    """An output of the model in Triton.

    Attributes:
        name: of it. data_type: Triton's name of it.
        dims: of one sequence's result: its shape, or (1,) for a number.
        is_flushed: it has a row for each result that was pending when its sequence ended.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]
    is_flushed: bool = False

    @property
    def flushed(self) -> "OutputSpec":
        """The output that holds the same for the results flushed at a sequence's end."""
        return OutputSpec(_FLUSHED + self.name, self.data_type, self.dims, is_flushed=True)


def list_frames(program: Program[Any]) -> list[str]:
    """Names of the inputs that take frames."""
    return name_inputs(program)[: len(program.frame_shapes)]


def list_outputs(program: Program[Any]) -> list[OutputSpec]:
    """Outputs of a step: the network's own, then the flags valid and fresh."""
    names = name_outputs(program)[: len(program.output_shapes)]
    own = [
        OutputSpec(name, "TYPE_FP32", shape or (1,))
        for name, shape in zip(names, program.output_shapes, strict=True)
    ]
    return [*own, OutputSpec(VALID, "TYPE_BOOL", (1,)), OutputSpec(FRESH, "TYPE_BOOL", (1,))]


def list_flushed(program: Program[Any]) -> list[OutputSpec]:
    """Outputs at the end of a sequence; none if the program flushes none."""
    own = list_outputs(program)[:-1] if program.edges == "both" else []
    return [output.flushed for output in own]


def make_config(
    program: Program[Any],
    *,
    sequences: int,
    strategy: Strategy,
    idle_seconds: float,
    parameters: dict[str, str],
    has_labels: bool,
) -> str:
    """The text of `config.pbtxt`; the model's name is that of its folder.

    Args:
        program: the one that the model steps.
        sequences: the most at a time, per instance of the model.
        strategy: of the sequence batcher.
        idle_seconds: how long a sequence may send nothing until it is forgotten.
        parameters: for the model, by name.
        has_labels: whether `labels.txt` names the classes of the first output.
    """
    frames = [
        _write_tensor(name, "TYPE_FP32", shape)
        for name, shape in zip(list_frames(program), program.frame_shapes, strict=True)
    ]
    outputs = [
        _write_tensor(spec.name, spec.data_type, (-1, *spec.dims) if spec.is_flushed else spec.dims)
        for spec in (*list_outputs(program), *list_flushed(program))
    ]
    if has_labels:
        outputs[0] = outputs[0].replace(" }", f" label_filename: {_quote(LABELS_FILE)} }}")
    controls = [
        f"{{ name: {_quote(name)} control [ {{ kind: CONTROL_SEQUENCE_{name} "
        "int32_false_true: [ 0, 1 ] } ] }"
        for name in (START, END, READY)
    ]
    given = [
        f"{{ key: {_quote(name)} value {{ string_value: {_quote(text)} }} }}"
        for name, text in parameters.items()
    ]
    batcher = "direct { }"
    if strategy == "oldest":
        batcher = f"oldest {{ max_candidate_sequences: {sequences} }}"
    return "\n".join(
        [
            "# Written by `co3d export`, and yours to change: docs/triton.md says what may be.",
            'backend: "python"',
            f"max_batch_size: {sequences}",
            _write_list("input", frames),
            _write_list("output", outputs),
            "sequence_batching {",
            f"  max_sequence_idle_microseconds: {round(idle_seconds * 1e6)}",
            f"  {batcher}",
            _write_list("control_input", controls, indent="  "),
            "}",
            "instance_group [ { count: 1 kind: KIND_CPU } ]",
            _write_list("parameters", given),
            "",
        ]
    )


def _write_tensor(name: str, data_type: str, dims: Sequence[int]) -> str:
    sizes = ", ".join(map(str, dims))
    return f"{{ name: {_quote(name)} data_type: {data_type} dims: [ {sizes} ] }}"


def _write_list(name: str, items: Iterable[str], indent: str = "") -> str:
    lines = ",\n".join(f"{indent}  {item}" for item in items)
    return f"{indent}{name} [\n{lines}\n{indent}]"


def _quote(text: str) -> str:
    """A string of protobuf's text format; in ASCII its escapes are those of JSON."""
    return json.dumps(text)
