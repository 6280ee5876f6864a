"""What a weight file of ours says of itself beside its tensors, in its metadata."""

import dataclasses
import json

from co3d.errors import WeightError
from co3d.models.card import ModelCard
from co3d.printable import spell_short
from co3d.weights.containers import Checkpoint

_ACTIVATIONS = {"softmax", "sigmoid"}


def write_description(card: ModelCard) -> dict[str, str]:
    """Metadata for `save_weights`, from which `read_description` makes the card anew."""
    return {
        "model": card.name,
        "labels": json.dumps(card.labels),
        "activation": card.activation,
        "licence": card.licence,
    }


def read_description(checkpoint: Checkpoint, card: ModelCard) -> ModelCard:
    """The card with what the metadata of a checkpoint says; what it leaves out stays.

    Raises:
        WeightError: the metadata are not as `write_description` writes them.
    """
    metadata = checkpoint.metadata
    if "labels" in metadata:
        card = dataclasses.replace(card, labels=_parse_labels(checkpoint))
    activation = metadata.get("activation", card.activation)
    if activation not in _ACTIVATIONS:
        raise WeightError(
            f"weights {checkpoint.origin}: the metadata `activation` is {spell_short(activation)}, "
            f"expected {' or '.join(sorted(_ACTIVATIONS))}; write the file anew"
        )
    licence = metadata.get("licence", card.licence)
    return dataclasses.replace(card, activation=activation, licence=licence)


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
