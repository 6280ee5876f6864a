"""What is evaluated: a network with its weights, opened once, and told apart from any other."""

import hashlib
import json
import re
from dataclasses import asdict

import torch

from co3d.compiler.program import raw_bytes
from co3d.datasets.manifest import Manifest
from co3d.models import ClipModel
from co3d.runtime import Stream


def count_classes(model: ClipModel) -> int:
    """Outputs of a registered network."""
    return model.get_parameter(f"{model.card.classifier}.weight").shape[0]


def describe_subject(model: torch.nn.Module, manifest: Manifest) -> dict[str, str]:
    """Digests of weights and data: the first 16 hexadecimal digits of their SHA-256.

    That of the weights is over names and values of all tensors, that of the data over classes and
    entries; where the files lie does not count.
    """
    weights = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        weights.update(name.encode())
        weights.update(raw_bytes(tensor))
    described = [manifest.class_names, manifest.multi_label, [asdict(e) for e in manifest.entries]]
    data = hashlib.sha256(json.dumps(described).encode())
    return {"weights_sha256": weights.hexdigest()[:16], "data_sha256": data.hexdigest()[:16]}


def describe_backend(stream: Stream) -> str:
    """Which computes a stream, and how; not on how many threads, nor why it was chosen."""
    return re.split(r", \d+ threads| \((?:as asked|auto)", stream.backend)[0]
