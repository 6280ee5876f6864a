"""Change a network's classes: give it names for them, another number, or only some of them."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from co3d.errors import OptionError
from co3d.models.card import ModelCard, find_card
from co3d.printable import list_first

_N = TypeVar("_N", bound=nn.Module)
Classifier = nn.Linear | nn.Conv2d | nn.Conv3d


def name_outputs(card: ModelCard, names: Sequence[str], classes: int) -> ModelCard:
    """The card with names for classes that have none yet.

    Args:
        card: of the network. names: index 0 first. classes: outputs of the network.

    Raises:
        OptionError: the card has other names, or the numbers of names and outputs differ.
    """
    if card.labels and tuple(names) != card.labels:
        raise OptionError(
            f"cannot name the classes of {card.name}: they have names, such as {card.labels[0]!r}; "
            "leave the names out"
        )
    if len(names) != classes:
        raise OptionError(
            f"cannot name the classes of {card.name}: got {len(names)} names, expected one for "
            f"each of its {classes} outputs; give the names in its own order"
        )
    return dataclasses.replace(card, labels=tuple(names))


def find_classifier(network: nn.Module) -> Classifier | None:
    """The last linear layer of a network, by its card; None where there is no such layer."""
    try:
        layer = network.get_submodule(_get_card(network).classifier)
    except AttributeError:
        return None
    return layer if isinstance(layer, Classifier) else None


def resize_outputs(network: _N, classes: int) -> _N:
    """Give a network a new classifier of so many classes without names; in place.

    Args:
        network: with a card, which says where its classifier is. classes: how many.

    Raises:
        OptionError: its last layer is no linear one or convolution where the card says.
    """
    layer = _require_classifier(network, f"give it {classes} classes")
    shape = (classes, *layer.weight.shape[1:])
    bias = None if layer.bias is None else layer.bias.new_empty(classes)
    _set_rows(layer, layer.weight.new_empty(shape), bias)
    layer.reset_parameters()
    network.card = dataclasses.replace(_get_card(network), labels=())  # type: ignore[assignment]
    return network


def keep_outputs(network: _N, places: Sequence[int]) -> _N:
    """Keep only the rows of some classes in a network's classifier, in this order; in place.

    Args:
        network: with a card, which has the classifier's path and the class names.
        places: indices of the classes.

    Raises:
        OptionError: the layer at the card's path is neither linear nor a convolution.
    """
    layer, rows = _require_classifier(network, "take a part of its classes"), list(places)
    bias = None if layer.bias is None else layer.bias.detach()[rows].clone()
    _set_rows(layer, layer.weight.detach()[rows].clone(), bias)
    card = _get_card(network)
    labels = tuple(card.labels[place] for place in rows)
    network.card = dataclasses.replace(card, labels=labels)  # type: ignore[assignment]
    return network


def require_labels(card: ModelCard, names: Sequence[str], found: Sequence[int | None]) -> list[int]:
    """The indices of a data set's classes in a network's.

    Args:
        card: of the network. names: of the data set's classes. found: their indices, or None.

    Raises:
        OptionError: the network's classes have no names, or one of these is not among them.
    """
    if not card.labels:
        raise OptionError(
            f"cannot match the classes of {card.name} with those of the data set: the weights do "
            "not name them; give a file with a class name a line as labels"
        )
    absent = [name for name, place in zip(names, found, strict=True) if place is None]
    if absent:
        raise OptionError(
            f"cannot match the classes of {card.name} with those of the data set: got "
            f"{list_first(absent)}, expected some of its {len(card.labels)}, such as "
            f"{card.labels[0]!r}; name the network's classes, or leave these out"
        )
    return [place for place in found if place is not None]


def _get_card(network: nn.Module) -> ModelCard:
    card = find_card(network)
    assert card is not None
    return card


def _require_classifier(network: nn.Module, purpose: str) -> Classifier:
    layer = find_classifier(network)
    if layer is None:
        card = _get_card(network)
        raise OptionError(
            f"cannot {purpose}: {card.classifier} is no linear layer of {card.name}; set "
            "`classifier` of its card to the path of the last one"
        )
    return layer


def _set_rows(layer: Classifier, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Put other rows into a layer, which then has as many outputs."""
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    if isinstance(layer, nn.Linear):
        layer.out_features = len(weight)
    else:
        layer.out_channels = len(weight)
