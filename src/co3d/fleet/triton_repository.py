"""Write a step program as a Triton model repository."""

import json
import re
from pathlib import Path
from typing import get_args

from co3d.arguments import check_arguments
from co3d.compiler.program import StepProgram
from co3d.errors import OptionError, OutputError
from co3d.export import export_program
from co3d.files import output_folder, report_refusal
from co3d.fleet.triton_config import LABELS_FILE, PROGRAM_FILE, Strategy, make_config
from co3d.models.card import ModelCard

PRECISIONS = ("float32", "bfloat16", "float16")
_MODEL = '''"""Steps the program beside this file; written by `co3d export`."""

from co3d.fleet.triton_backend import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
# The fields that a client needs to feed the model and to read its results; labels have a file.
_CLIENT_FIELDS = (
    "fingerprint",
    "rate",
    "edges",
    "delay",
    "first_valid_step",
    "temporal_stride",
    "card",
)
_MOST_IDLE_SECONDS = 10.0**9


@check_arguments(program="convert the network first: co3d.convert(model, clip_shape)")
def write_triton_repository(
    program: StepProgram,
    repository: str | Path,
    *,
    card: ModelCard | None = None,
    precision: str = "float32",
    sequences: int = 16,
    strategy: Strategy = "direct",
    idle_seconds: float = 60.0,
) -> tuple[Path, str]:
    """Write a step program as a model of Triton's Python backend, which batches its sequences.

    Args:
        program: from `convert`, in float32.
        repository: the folder of models; created if absent.
        card: how to feed the network; names the model and its classes.
        precision: "float32", "bfloat16" or "float16", in which the model steps.
        sequences: that an instance of the model steps at a time, at least 1.
        strategy: "direct" keeps a place in the batch for each sequence; "oldest" batches the frames
            that have waited longest.
        idle_seconds: how long a sequence may send nothing until Triton forgets it, above 0.

    Returns:
        The model's folder, and the description in the program's file: JSON.

    Raises:
        OptionError: a value out of range.
        ExportError: the program cannot be written.
        OutputError: the model's folder exists already, or cannot be written.
    """
    _check(precision, sequences, strategy, idle_seconds)
    repository = Path(repository)
    folder = repository / _name_model(program, card)
    if folder.exists():
        raise OutputError(
            f"cannot write {folder}: it exists already; remove it, or name another repository"
        )
    with report_refusal(repository):
        repository.mkdir(parents=True, exist_ok=True)
    labels = () if card is None else card.labels
    has_labels = program.output_shapes == ((len(labels),),)
    with output_folder(folder) as whole:
        version = whole / "1"
        version.mkdir()
        description = export_program(program, version / PROGRAM_FILE, format="torch", card=card)
        (version / "model.py").write_text(_MODEL, encoding="utf-8")
        if has_labels:
            (whole / LABELS_FILE).write_text("\n".join(labels) + "\n", encoding="utf-8")
        config = make_config(
            program,
            sequences=sequences,
            strategy=strategy,
            idle_seconds=idle_seconds,
            parameters={
                "precision": precision,
                "backend": "auto",
                "co3d": _describe(description),
            },
            has_labels=has_labels,
        )
        (whole / "config.pbtxt").write_text(config, encoding="utf-8")
    return folder, description


def _name_model(program: StepProgram, card: ModelCard | None) -> str:
    """A name for the model's folder, in the few characters that Triton and its URLs allow.

    Without a card it is the network's class name.
    """
    name = program.name if card is None else card.name
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "model"


def _describe(description: str) -> str:
    """The description for clients, as JSON in ASCII."""
    fields = json.loads(description)
    chosen = {name: fields[name] for name in _CLIENT_FIELDS}
    if chosen["card"] is not None:
        chosen["card"] = {name: value for name, value in chosen["card"].items() if name != "labels"}
    return json.dumps(chosen)


def _check(precision: str, sequences: int, strategy: str, idle_seconds: float) -> None:
    what = "cannot export for Triton: got"
    if precision not in PRECISIONS:
        raise OptionError(
            f"{what} precision {precision!r}, expected one of {', '.join(PRECISIONS)}"
        )
    if sequences < 1:
        raise OptionError(f"{what} {sequences} sequences, expected at least 1")
    if strategy not in get_args(Strategy):
        raise OptionError(
            f"{what} strategy {strategy!r}, expected one of {', '.join(get_args(Strategy))}"
        )
    if not 1e-3 <= idle_seconds <= _MOST_IDLE_SECONDS:
        raise OptionError(
            f"{what} idle_seconds={idle_seconds}, expected from 0.001 to {_MOST_IDLE_SECONDS:.0f}"
        )
