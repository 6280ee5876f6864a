"""Names for networks: `create_model` builds one by name; `register_model` adds one."""

import dataclasses
import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

from co3d.errors import OptionError, UnknownModelError, WeightError
from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.labels import read_labels
from co3d.weights.catalogue import PublishedWeights, find_weights, list_weights
from co3d.weights.containers import Checkpoint, read_checkpoint
from co3d.weights.download import fetch_weights
from co3d.weights.load import load_weights

Builder = Callable[..., ClipModel]
_B = TypeVar("_B", bound=Builder)
_ENTRIES: dict[str, tuple[ModelCard, Builder]] = {}


def register_model(card: ModelCard) -> Callable[[_B], _B]:
    """Register a builder under `card.name`; a name that is taken is an error.

    The builder takes `num_classes` and `dropout`, both with defaults, and returns the network with
    random weights.
    """

    def register(builder: _B) -> _B:
        if card.name in _ENTRIES:
            raise OptionError(
                f"cannot register model {card.name!r}: the name is taken; choose another"
            )
        _ENTRIES[card.name] = (card, builder)
        return builder

    return register


def list_models() -> list[str]:
    """Names of all registered models, sorted."""
    return sorted(_ENTRIES)


def get_card(name: str) -> ModelCard:
    """The card of a registered model, without labels: those come with weights.

    Raises:
        UnknownModelError: no model has this name; the message gives the nearest names.
    """
    return _find_entry(name)[0]


def create_model(
    name: str,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    dropout: float | None = None,
) -> ClipModel:
    """Build a registered network, in evaluation mode, with its card as `model.card`.

    Args:
        name: one of `list_models()`.
        weights: None for the weights bundled with the package, random where there are none;
            "random"; a published tag such as "kinetics400", downloaded once; or a checkpoint file.
        num_classes: outputs, when other than the published number. A classifier of another size in
            the weights is then left out, which is logged as a warning, and the card has no labels.
        dropout: probability of dropping a hidden unit in training, when other than the published.

    Raises:
        UnknownModelError: the model, or the tag, does not exist.
        OptionError: `num_classes` or `dropout` is out of range.
        WeightError: the weights cannot be read or do not fit. DownloadError: or not be fetched.
    """
    card, builder = _find_entry(name)
    model = builder(**_check_options(num_classes, dropout))
    model.card = card
    loaded = _read_weights(card, weights)
    if loaded:
        others = {other: build for other, (_, build) in _ENTRIES.items() if other != name}
        replaceable = "" if num_classes is None else card.classifier
        load_weights(model, loaded.checkpoint, replaceable=replaceable, others=others)
        card = loaded.describe(card)
    if len(card.labels) != _count_outputs(model, card):
        card = dataclasses.replace(card, labels=())
    model.card = card
    return model.eval()


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint and, when it is a published one, what is known of it."""

    checkpoint: Checkpoint
    published: PublishedWeights | None = None

    def describe(self, card: ModelCard) -> ModelCard:
        """The card with the class names that go with these weights."""
        if "labels" in self.checkpoint.metadata:
            return dataclasses.replace(card, labels=_parse_labels(self.checkpoint))
        if self.published:
            return dataclasses.replace(
                card,
                labels=read_labels(self.published.labels),
                licence=self.published.licence,
                published_accuracy=self.published.accuracy,
            )
        return card


def _read_weights(card: ModelCard, weights: str | Path | None) -> _Loaded | None:
    """The checkpoint that `weights` means for this model; None for random weights."""
    if weights == "random" or (weights is None and not card.bundled_weights):
        return None
    if weights is None:
        bundled = resources.files("co3d") / "assets" / card.bundled_weights
        with resources.as_file(bundled) as path:
            return _Loaded(read_checkpoint(path))
    published = list_weights(card.name)
    if weights not in [entry.tag for entry in published] and _looks_like_path(weights):
        path = Path(weights)
        # A file fetched by hand keeps its published name, and with it its class names.
        same_name = (entry for entry in published if entry.file_name == path.name)
        return _Loaded(read_checkpoint(path), next(same_name, None))
    entry = find_weights(card.name, str(weights))
    return _Loaded(read_checkpoint(fetch_weights(entry)), entry)


def _looks_like_path(weights: str | Path) -> bool:
    path = Path(weights)
    return isinstance(weights, Path) or bool(path.suffix) or path.name != weights or path.exists()


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


def _check_options(num_classes: int | None, dropout: float | None) -> dict[str, float]:
    options: dict[str, float] = {}
    if num_classes is not None:
        if num_classes < 1:
            raise OptionError(f"cannot build a model: num_classes is {num_classes}, the least is 1")
        options["num_classes"] = num_classes
    if dropout is not None:
        if not 0 <= dropout < 1:
            raise OptionError(f"cannot build a model: dropout is {dropout}, expected 0 <= p < 1")
        options["dropout"] = dropout
    return options


def _count_outputs(model: ClipModel, card: ModelCard) -> int:
    return model.get_parameter(f"{card.classifier}.weight").shape[0]


def _find_entry(name: str) -> tuple[ModelCard, Builder]:
    if name not in _ENTRIES:
        nearest = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.4) or list_models()
        raise UnknownModelError(f"no model {name!r}: did you mean {' or '.join(nearest)}?")
    return _ENTRIES[name]
