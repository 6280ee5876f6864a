"""The metadata in our weight files, which describes the network's outputs."""

import dataclasses
import json

from co3d.errors import WeightError
from co3d.models.card import ModelCard
from co3d.printable import short_repr
from co3d.weights.containers import Checkpoint

_ACTIVATIONS = {"softmax", "sigmoid"}


def write_description(card: ModelCard) -> dict[str, str]:
    """Metadata for `save_weights`, from which `read_description` restores the card."""
    return {
        "model": card.name,
        "labels": json.dumps(card.labels),
        "activation": card.activation,
        "licence": card.licence,
    }


def read_description(checkpoint: Checkpoint, card: ModelCard, num_classes: int) -> ModelCard:
    """The card updated from a checkpoint's metadata; missing values stay.

    Names that are not as many as the classes of the network are not theirs, and left out.

    Raises:
        WeightError: the metadata do not have the form of `write_description`.
    """
    metadata = checkpoint.metadata
    if "labels" in metadata:
        card = dataclasses.replace(card, labels=_parse_labels(checkpoint))
    activation = metadata.get("activation", card.activation)
    if activation not in _ACTIVATIONS:
        raise WeightError(
            f"weights {checkpoint.origin}: the metadata `activation` is {short_repr(activation)}, "
            f"expected {' or '.join(sorted(_ACTIVATIONS))}; write the file anew"
        )
    licence = metadata.get("licence", card.licence)
    labels = card.labels if len(card.labels) == num_classes else ()
    return dataclasses.replace(card, activation=activation, licence=licence, labels=labels)


def _parse_labels(checkpoint: Checkpoint) -> tuple[str, ...]:
    try:
        labels = json.loads(checkpoint.metadata["labels"])
    except (ValueError, RecursionError) as error:
        labels = error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise WeightError(
            f"weights {checkpoint.origin}: the metadata `labels` is not a JSON list of names; "
            "write it with json.dumps(list_of_names)"
        )
    return tuple(labels)
