"""From a recipe to a network and its data, ready to train."""

import dataclasses
from dataclasses import dataclass

import torch
from lightning.pytorch import seed_everything

from co3d.models import ClipModel, create_model, get_card
from co3d.models.card import ModelCard
from co3d.training.batches import TrainingData
from co3d.training.module import ClipTraining
from co3d.training.recipe import CameraMotionData, Recipe, StreamForm
from co3d.training.stream_module import StreamTraining


@dataclass(frozen=True)
class Setup:
    """A network about to be trained, and what it learns from."""

    module: ClipTraining
    data: TrainingData

    @property
    def net(self) -> ClipModel:
        """The network."""
        return self.module.net


def set_up(recipe: Recipe) -> Setup:
    """Open the data, build the network for its classes, and make the module that trains it.

    Raises:
        RecipeError, DataError, WeightError, TrainingError: what the recipe names is not there or
            does not fit.
    """
    if recipe.compute.threads is not None:
        torch.set_num_threads(recipe.compute.threads)
    card = _describe_clips(recipe, get_card(recipe.model.name))
    data = _open_data(recipe, card)
    seed_everything(recipe.seed, verbose=False)
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


def _describe_clips(recipe: Recipe, card: ModelCard) -> ModelCard:
    """The card for the clips of the recipe, which is how the trained network must be fed."""
    if isinstance(recipe.data, CameraMotionData):
        return card
    wanted = {
        "clip_frames": recipe.data.clip_frames,
        "rate_hz": recipe.data.rate_hz,
        "crop_px": recipe.data.crop_px,
        "short_side_px": recipe.data.short_side_px and recipe.data.short_side_px[0],
    }
    return dataclasses.replace(card, **{k: v for k, v in wanted.items() if v is not None})


def _open_data(recipe: Recipe, card: ModelCard) -> TrainingData:
    form = recipe.form if isinstance(recipe.form, StreamForm) else None
    if isinstance(recipe.data, CameraMotionData):
        from co3d.training.generated import make_generated_data

        return make_generated_data(recipe.data, recipe.form.kind, form, recipe.seed)
    from co3d.training.video_data import open_videos

    return open_videos(recipe.data, card, form, recipe)
