"""Names for networks: `create_model` builds one by name; `register_model` adds one."""

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

import torch

from co3d.arguments import check_arguments
from co3d.errors import OptionError, UnknownModelError, WeightError
from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.description import read_description
from co3d.models.labels import read_labels
from co3d.models.pyslowfast_cfg import read_pyslowfast_cfg
from co3d.models.saved import WEIGHTS, is_saved_model, read_saved_card
from co3d.printable import list_first
from co3d.weights.catalogue import PublishedWeights, find_weights, list_weights
from co3d.weights.checkpoints import read_checkpoint
from co3d.weights.containers import Checkpoint, read_container
from co3d.weights.download import fetch_weights
from co3d.weights.load import count_outputs, load_weights
from co3d.weights.origin import identify_weights

Builder = Callable[..., ClipModel]
_B = TypeVar("_B", bound=Builder)
_ENTRIES: dict[str, tuple[ModelCard, Builder]] = {}


@check_arguments(card="describe the network with a co3d.ModelCard")
def register_model(card: ModelCard) -> Callable[[_B], _B]:
    """Register a builder under `card.name`; an existing name raises.

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


@check_arguments()
def get_card(name: str) -> ModelCard:
    """The card of a registered or trained model, without labels: those come with weights.

    Raises:
        UnknownModelError: no model has this name; the message gives the nearest names.
        WeightError: the card in a folder of a trained model is broken.
    """
    return _find_entry(name)[0]


def has_own_weights(name: str) -> bool:
    """Whether a model comes with weights, in the package or in its own folder."""
    return bool(_is_folder(name) or get_card(name).bundled_weights)


@check_arguments()
def create_model(
    name: str,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    dropout: float | None = None,
) -> ClipModel:
    """Build a registered network, in evaluation mode, with its card as `model.card`.

    Args:
        name: one of `list_models()`, or the folder of a training run (write `./x3d_s` for a folder
            named like a model).
        weights: None for the weights in that folder, or those bundled with the package, or random
            ones if there are none; "random"; a published tag such as "kinetics400", downloaded
            once; or a checkpoint file.
        num_classes: outputs; None for as many as the weights have. If the weights' classifier has
            another size it is not loaded, with a logged warning, and the card has no labels.
        dropout: probability of dropping a hidden unit in training; None for the published one.

    Raises:
        UnknownModelError: the model, or the tag, does not exist.
        OptionError: `num_classes` or `dropout` is out of range.
        WeightError: the weights cannot be read or do not fit. DownloadError: or not be fetched.
    """
    card, builder = _find_entry(name)
    _check_options(num_classes, dropout)
    if weights is None and _is_folder(name):
        weights = Path(name) / WEIGHTS
    loaded = _read_weights(card, weights)
    replaceable = "" if num_classes is None else card.classifier
    if loaded and num_classes is None:
        num_classes = count_outputs(loaded.checkpoint, card.classifier)
    options = {"num_classes": num_classes, "dropout": dropout}
    model = builder(**{key: value for key, value in options.items() if value is not None})
    model.card = dataclasses.replace(card, published_accuracy={})
    if loaded:
        others = {other: build for other, (_, build) in _ENTRIES.items() if other != card.name}
        load_weights(model, loaded.checkpoint, replaceable=replaceable, others=others)
        _check_network(model, loaded.checkpoint)
        model.card = loaded.describe(
            model.card, len(model.get_parameter(f"{card.classifier}.weight"))
        )
    return model.eval()


def create_trained_model(name: str, weights: str | Path | None, *, purpose: str) -> ClipModel:
    """A network for use, whose weights are only random on request.

    Args:
        name, weights: as for `create_model`.
        purpose: what it is for, as words that follow "cannot".

    Raises:
        OptionError: no weights are given, and none are bundled or in the folder.
        UnknownModelError, WeightError: see `create_model`.
    """
    if weights is None and not has_own_weights(name):
        tags = [entry.tag for entry in list_weights(name)]
        raise OptionError(
            f"cannot {purpose} {name}: the package bundles no weights for it; give "
            f"--weights {' or --weights '.join([*tags, 'CHECKPOINT'])}"
        )
    return create_model(name, weights=weights)


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint, and the published ones that it may be by its file name.

    Attributes:
        origin: the published checkpoint that it is, if known.
    """

    checkpoint: Checkpoint
    candidates: tuple[PublishedWeights, ...] = ()
    origin: PublishedWeights | None = None

    def describe(self, card: ModelCard, num_classes: int) -> ModelCard:
        """The card with what is known of these weights, for this number of outputs."""
        for entry in self.candidates:
            labels = read_labels(entry.labels)
            if len(labels) == num_classes:
                card = dataclasses.replace(
                    card,
                    labels=labels,
                    activation=entry.activation,
                    licence=entry.licence,
                    published_accuracy=entry.accuracy if entry == self.origin else {},
                )
        if self.origin is None:
            card = read_pyslowfast_cfg(self.checkpoint, card)
        return read_description(self.checkpoint, card, num_classes)


def _read_weights(card: ModelCard, weights: str | Path | None) -> _Loaded | None:
    """The checkpoint of `weights` for this model; None for random weights."""
    if weights == "random" or (weights is None and not card.bundled_weights):
        return None
    if weights is None:
        bundled = resources.files("co3d") / "assets" / card.bundled_weights
        with resources.as_file(bundled) as path:
            return _Loaded(read_container(path))
    published = list_weights(card.name)
    if weights not in [entry.tag for entry in published] and _looks_like_path(weights):
        path = Path(weights)
        # A file fetched by hand usually keeps its published name, which tells its class names.
        origin = identify_weights(card.name, path)
        same_name = [origin] if origin else [e for e in published if e.file_name == path.name]
        return _Loaded(read_checkpoint(path), tuple(same_name), origin)
    entry = find_weights(card.name, str(weights))
    return _Loaded(read_checkpoint(fetch_weights(entry)), (entry,), entry)


def _check_network(model: ClipModel, checkpoint: Checkpoint) -> None:
    """Refuse a file that says that it is of a network of another class, though its tensors fit.

    Raises:
        WeightError: naming the network.
    """
    written = checkpoint.metadata.get("model")
    if written is None or written not in _ENTRIES:
        return
    with torch.device("meta"):  # shapes without memory
        other = _ENTRIES[written][1]()
    if type(other) is not type(model):
        raise WeightError(
            f"weights {checkpoint.origin} do not fit {model.card.name}: they are weights of "
            f"{written}, whose tensors are alike but which computes otherwise: choose that model"
        )


def _looks_like_path(weights: str | Path) -> bool:
    path = Path(weights)
    return isinstance(weights, Path) or bool(path.suffix) or path.name != weights or path.exists()


def _check_options(num_classes: int | None, dropout: float | None) -> None:
    if num_classes is not None and num_classes < 1:
        raise OptionError(f"cannot build a model: num_classes is {num_classes}, the least is 1")
    if dropout is not None and not 0 <= dropout < 1:
        raise OptionError(f"cannot build a model: dropout is {dropout}, expected 0 <= p < 1")


def _is_folder(name: str) -> bool:
    """Whether a name is a trained network's folder; a registered name is never one."""
    return name not in _ENTRIES and is_saved_model(name)


def _find_entry(name: str) -> tuple[ModelCard, Builder]:
    if _is_folder(name):
        card = read_saved_card(Path(name), {key: card for key, (card, _) in _ENTRIES.items()})
        return card, _ENTRIES[card.name][1]
    if name not in _ENTRIES:
        nearest = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.4)
        hint = (
            f"did you mean {' or '.join(nearest)}?"
            if nearest
            else (f"known are {list_first(list_models())}; `co3d models` lists all")
        )
        raise UnknownModelError(f"no model {name!r}: {hint}")
    return _ENTRIES[name]
