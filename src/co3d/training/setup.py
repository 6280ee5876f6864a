"""Build the network and the data of a recipe."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from co3d.datasets.layouts.class_names import ClassIndex
from co3d.errors import RecipeError
from co3d.models import ClipModel, create_model, get_card
from co3d.models.card import ModelCard
from co3d.models.labels import read_label_file
from co3d.models.part_head import keep_outputs, name_outputs, require_labels
from co3d.training.batches import TrainingData
from co3d.training.module import ClipTraining
from co3d.training.own_networks import check_clips, fit_classes, open_own
from co3d.training.recipe import CameraMotionData, Recipe, StreamForm, VideoData
from co3d.training.stream_module import StreamTraining


@dataclass(frozen=True)
class Setup:
    """A network ready for training, with its data."""

    module: ClipTraining
    data: TrainingData

    @property
    def net(self) -> ClipModel:
        """The network."""
        return self.module.net


def set_up(recipe: Recipe) -> Setup:
    """Open the data, build the network for its classes, and make the module that trains it.

    Raises:
        RecipeError, DataError, WeightError, TrainingError: something that the recipe names does not
            exist or does not fit.
    """
    if recipe.compute.threads is not None:
        torch.set_num_threads(recipe.compute.threads)
    seed_everything(recipe.seed, verbose=False)
    own = open_own(recipe)
    card = _describe_clips(recipe, get_card(recipe.model.name) if own is None else own.card)
    if own is not None:
        check_clips(own.card, card)
    trained = None if recipe.model.head == "new" else _open_named(recipe, own)
    whole = trained.card.labels if trained and recipe.model.head == "whole" else None
    data = _open_data(recipe, card, whole)
    seed_everything(recipe.seed, verbose=False)
    if trained is not None:
        net = _take_classes(trained, data)
    elif own is not None:
        net = fit_classes(own, len(data.class_names))
    else:
        net = create_model(
            recipe.model.name,
            recipe.model.weights,
            num_classes=len(data.class_names),
            dropout=recipe.model.dropout,
        )
    net.card = dataclasses.replace(
        card,
        labels=data.class_names,
        activation="sigmoid" if data.multi_label else "softmax",
        published_accuracy={},
    )
    if isinstance(recipe.form, StreamForm):
        per_frame = isinstance(recipe.data, CameraMotionData)
        shape = (card.clip_shape[0], *card.clip_shape[2:])
        return Setup(StreamTraining(net, recipe, data, shape, per_frame=per_frame), data)
    return Setup(ClipTraining(net, recipe, data), data)


def _open_named(recipe: Recipe, own: ClipModel | None) -> ClipModel:
    """The trained network with all of its classes, which must have names.

    Args:
        own: the network of a user's file, if the recipe names one.

    Raises:
        RecipeError: they have no names, or the data are not videos or have a background.
    """
    section = recipe.model
    what = f"cannot train with model.head={section.head}"
    if not isinstance(recipe.data, VideoData) or recipe.data.background is not None:
        raise RecipeError(f"{what}: expected videos without data.background; set model.head=new")
    if own is None:
        net = create_model(section.name, section.weights, dropout=section.dropout)
    else:
        net = own
    if section.labels is not None:
        names = read_label_file(Path(section.labels), "model.labels")
        classes = len(net.get_parameter(f"{net.card.classifier}.weight"))
        net.card = name_outputs(net.card, names, classes)
    if not net.card.labels:
        raise RecipeError(
            f"{what}: the weights of {section.name} do not name their classes; set model.labels to "
            "a file with a name a line, or model.head=new"
        )
    return net


def _take_classes(net: ClipModel, data: TrainingData) -> ClipModel:
    """The network with the data's classes, which are all of its own or some of them."""
    if data.class_names == net.card.labels:
        return net
    index = ClassIndex(net.card.labels)
    found = [index.find(name) for name in data.class_names]
    return keep_outputs(net, require_labels(net.card, data.class_names, found))


def _describe_clips(recipe: Recipe, card: ModelCard) -> ModelCard:
    """The card with the recipe's clip format, as the trained network must be fed."""
    if isinstance(recipe.data, CameraMotionData):
        return card
    wanted = {
        "clip_frames": recipe.data.clip_frames,
        "rate_hz": recipe.data.rate_hz,
        "crop_px": recipe.data.crop_px,
        "short_side_px": recipe.data.short_side_px and recipe.data.short_side_px[0],
    }
    return dataclasses.replace(card, **{k: v for k, v in wanted.items() if v is not None})


def _open_data(recipe: Recipe, card: ModelCard, classes: tuple[str, ...] | None) -> TrainingData:
    form = recipe.form if isinstance(recipe.form, StreamForm) else None
    if isinstance(recipe.data, CameraMotionData):
        from co3d.training.generated import make_generated_data

        return make_generated_data(recipe.data, recipe.form.kind, form, recipe.seed)
    from co3d.training.video_data import open_videos

    return open_videos(recipe.data, card, form, recipe, classes)
