"""What is evaluated: a network with its weights, opened once, and told apart from any other."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from co3d.compiler.program import raw_bytes
from co3d.datasets.manifest import Manifest
from co3d.engine.opening import open_exported
from co3d.errors import OptionError
from co3d.models import ClipModel, ModelCard
from co3d.runtime import CompiledProgram
from co3d.runtime.stored_program import StoredProgram

DIGITS = 16


@dataclass(frozen=True)
class Subject:
    """A network under evaluation: a clip network, or a step program from a file.

    Attributes:
        card: how it is fed.
        classes: its outputs.
        digest: of its weights: the first digits of the SHA-256 of names and values of all tensors,
            or of the file.
        model: the clip network, with the card as an attribute, or None.
        program: that of the file, or None.
    """

    card: ModelCard
    classes: int
    digest: str
    model: ClipModel | None = None
    program: StoredProgram | None = None


def make_subject(model: ClipModel) -> Subject:
    """A clip network under evaluation, which has a card as `create_model` sets it."""
    card = model.card
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(raw_bytes(tensor))
    with torch.inference_mode():
        output = model(torch.zeros(1, *card.clip_shape))
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        raise OptionError(
            f"cannot evaluate {card.name}: got {describe_output(output)} for one clip, expected "
            "logits of shape (1, K); wrap the network"
        )
    return Subject(card, output.shape[1], digest.hexdigest()[:DIGITS], model=model)


def describe_output(output: object) -> str:
    """What a network gave, in a few words."""
    if isinstance(output, torch.Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"


def read_subject(path: Path) -> Subject:
    """A step program from a file under evaluation.

    Raises:
        SourceNotFoundError, ExportedFileError: see `open_exported`.
    """
    program, card = open_exported(path)
    digest = hashlib.sha256(path.read_bytes())
    graph = path.with_suffix(".bin")  # OpenVINO keeps the weights apart
    if path.suffix == ".xml" and graph.is_file():
        digest.update(graph.read_bytes())
    return Subject(card, program.output_shape[0], digest.hexdigest()[:DIGITS], program=program)


def describe_subject(subject: Subject, manifest: Manifest) -> dict[str, str]:
    """Digests of weights and data: the first 16 hexadecimal digits of their SHA-256.

    That of the data is over classes and entries; where the files lie does not count.
    """
    described = [manifest.class_names, manifest.multi_label, [asdict(e) for e in manifest.entries]]
    data = hashlib.sha256(json.dumps(described).encode())
    return {"weights_sha256": subject.digest, "data_sha256": data.hexdigest()[:DIGITS]}


def describe_backend(compiled: CompiledProgram) -> str:
    """Which runs a program, and how; not on how many threads, nor why it was chosen."""
    return re.split(r", \d+ threads| \((?:as asked|auto)", compiled.backend)[0]
