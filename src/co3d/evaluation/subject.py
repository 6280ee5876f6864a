"""What is evaluated: a network with its weights, opened once, and told apart from any other."""

import hashlib
import json
from dataclasses import asdict

import torch

from co3d.datasets.manifest import Manifest
from co3d.errors import OptionError
from co3d.models import ClipModel, create_model, get_card
from co3d.stream.program import raw_bytes
from co3d.weights import list_weights


def open_model(name: str, weights: str | None) -> ClipModel:
    """A registered network with weights.

    Raises:
        OptionError: no weights are given, and none are bundled.
        UnknownModelError, WeightError: see `create_model`.
    """
    if weights is None and not get_card(name).bundled_weights:
        tags = [entry.tag for entry in list_weights(name)]
        raise OptionError(
            f"cannot evaluate {name}: the package bundles no weights for it; give "
            f"--weights {' or --weights '.join([*tags, 'CHECKPOINT'])}"
        )
    return create_model(name, weights=weights)


def count_classes(model: ClipModel) -> int:
    """Outputs of a registered network."""
    return model.get_parameter(f"{model.card.classifier}.weight").shape[0]


def digest_weights(model: torch.nn.Module) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over names and values of all tensors."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()[:16]


def digest_manifest(manifest: Manifest) -> str:
    """The same over classes and entries; where the files lie does not count."""
    described = [manifest.class_names, manifest.multi_label, [asdict(e) for e in manifest.entries]]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
