"""The network under evaluation with its weights, identified by digests."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from co3d.compiler.program import raw_bytes
from co3d.datasets.manifest import Manifest
from co3d.engine.opening import open_exported
from co3d.errors import OptionError
from co3d.export import is_exported
from co3d.models import ClipModel, ModelCard, create_trained_model, find_card
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


def find_subject(network: str | nn.Module, weights: str | None, *, purpose: str) -> Subject:
    """A registered or trained network, one of the user's own, or an exported file.

    Args:
        network: its name, or itself.
        weights: a tag or a file; None for those that it has.
        purpose: what it is for, as words that follow "cannot" in errors.

    Raises:
        OptionError: no weights are known, weights are given for a network that has its own, or no
            card says how it is fed.
        UnknownModelError, WeightError, ExportedFileError, SourceNotFoundError: see `create_model`
            and `open_exported`.
    """
    if isinstance(network, nn.Module):
        name = type(network).__name__
        if weights is not None:
            raise OptionError(
                f"cannot {purpose} {name}: got weights={weights!r} for a network that has its own; "
                "load them into it first"
            )
        if find_card(network) is None:
            raise OptionError(
                f"cannot {purpose} {name}: got a network without a card, expected a co3d.ModelCard "
                "as its attribute `card`, which says how to prepare pictures; set it "
                "(docs/own_network.md)"
            )
        return make_subject(cast(ClipModel, network))  # only its card is used
    if is_exported(network):
        if weights is not None:
            raise OptionError(
                f"cannot {purpose} {network}: an exported file contains its weights; leave "
                "--weights out, or export the network again"
            )
        return read_subject(Path(network))
    return make_subject(create_trained_model(network, weights, purpose=purpose))


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
    """A short description of a network's output."""
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
    graph = path.with_suffix(".bin")  # OpenVINO stores the weights in a second file
    if path.suffix == ".xml" and graph.is_file():
        digest.update(graph.read_bytes())
    return Subject(card, program.output_shape[0], digest.hexdigest()[:DIGITS], program=program)


def describe_subject(subject: Subject, manifest: Manifest) -> dict[str, str]:
    """Digests of weights and data: the first 16 hexadecimal digits of their SHA-256.

    The data's digest covers classes and entries, not the place of the files, nor what they were cut
    from.
    """
    entries = [asdict(entry) for entry in manifest.entries]
    for entry in entries:
        del entry["source"]
    described = [manifest.class_names, manifest.multi_label, entries]
    data = hashlib.sha256(json.dumps(described).encode())
    return {"weights_sha256": subject.digest, "data_sha256": data.hexdigest()[:DIGITS]}


def describe_backend(compiled: CompiledProgram) -> str:
    """The backend and how it runs; without its number of threads and why it was chosen."""
    return re.split(r", \d+ threads| \((?:as asked|auto)", compiled.backend)[0]
