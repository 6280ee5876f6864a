"""Networks of a user's file, FILE.py:FACTORY, as a recipe trains them."""

import dataclasses
from typing import cast

import torch
from torch import Tensor

from co3d.errors import RecipeError
from co3d.models import ClipModel, find_card
from co3d.models.card import ModelCard
from co3d.models.file_networks import build_network, is_file_network
from co3d.models.part_head import resize_outputs
from co3d.training.recipe import Recipe


def open_own(recipe: Recipe) -> ClipModel | None:
    """The network that the file of a recipe builds; None where the recipe names no file.

    Its card is called as the recipe calls it, so that a run's folder says what builds its network.

    Raises:
        RecipeError: it has no card, or the recipe sets what the file settles.
        OptionError, WeightError: see `build_network`.
    """
    section = recipe.model
    if not is_file_network(section.name):
        return None
    what = f"cannot train {section.name}"
    if section.dropout is not None or section.weights == "random":
        raise RecipeError(
            f"{what} with model.dropout or model.weights=random: its file settles them; set them "
            "to null"
        )
    # All that is asked of it is the card.
    network = cast(ClipModel, build_network(section.name, section.weights))
    card = find_card(network)
    if card is None:
        raise RecipeError(
            f"{what}: got a network without a card, expected a co3d.ModelCard as its attribute "
            "`card`, which says how to prepare clips; set it (docs/own_network.md)"
        )
    network.card = dataclasses.replace(card, name=section.name)
    return network


def check_clips(card: ModelCard, described: ModelCard) -> None:
    """Refuse a recipe by which the network of a file would be fed otherwise than its card says.

    Whoever plays the network builds it with the file, and feeds it by the file's card.

    Args:
        card: of the network. described: the same with what the recipe says of clips.

    Raises:
        RecipeError: they differ.
    """
    if card != described:
        raise RecipeError(
            f"cannot train {card.name} with other clips than its card describes: got data.rate_hz, "
            "data.clip_frames, data.crop_px or data.short_side_px; set them on the card, in the "
            "file"
        )


def fit_classes(network: ClipModel, classes: int) -> ClipModel:
    """The network with so many outputs: as it is, or with a new classifier.

    Raises:
        RecipeError: it does not give logits. OptionError: its card does not say where its
            classifier is.
    """
    with torch.inference_mode():
        output = network(torch.zeros(1, *network.card.clip_shape))
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise RecipeError(
            f"cannot train {network.card.name}: a clip gives a {type(output).__name__}"
            f"{tuple(getattr(output, 'shape', ()))}, expected logits of shape (1, K); wrap the "
            "network"
        )
    return network if output.shape[1] == classes else resize_outputs(network, classes)
