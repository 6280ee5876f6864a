"""Open the videos of a recipe for training, and check them."""

from collections.abc import Sequence
from typing import Any

from co3d.datasets.clips import VideoClips, collate_clips
from co3d.datasets.manifest import Manifest
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform, TrainTransform
from co3d.errors import DataError, RecipeError
from co3d.models.card import ModelCard
from co3d.printable import list_first
from co3d.training.batches import Key, TrainingData
from co3d.training.recipe import Recipe, StreamForm, VideoData
from co3d.training.videos import open_parts


class _VideoItems:
    """Clips of several manifests in sequence, with each video several times."""

    def __init__(self, parts: Sequence[VideoClips], clips_per_video: int = 1) -> None:
        self._parts, self._times = parts, clips_per_video
        self._videos = sum(map(len, parts))

    def __len__(self) -> int:
        return self._videos * self._times

    def __getitem__(self, key: Key) -> dict[str, Any]:
        index = key.index % self._videos
        for part in self._parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(key)


def open_videos(
    section: VideoData,
    card: ModelCard,
    form: StreamForm | None,
    recipe: Recipe,
    classes: Sequence[str] | None = None,
) -> TrainingData:
    """Find the videos of a recipe and hold some out for validation.

    Args:
        section: which videos. card: how the clips are fed to the network.
        form: the stream form, whose videos are long clips; None for clips.
        recipe: for its seed and loss.
        classes: the network's class names, if it keeps its own; some may have no videos.

    Raises:
        DataError: no videos, empty class folders, classes with too few videos, videos without a
            label.
        RecipeError: the loss does not fit the labels.
    """
    parts = open_parts(section, recipe.seed, classes)
    train, validation = parts.train, parts.validation
    _check_loss(train[0], recipe)
    names = train[0].class_names
    for manifests in (train, validation):
        _check_labels(manifests, section)
    if len(names) < 2 and not train[0].multi_label:
        raise DataError(
            f"cannot train on {section.path}: got one class, {list_first(names)}, expected two or "
            "more; check the path and `co3d data doctor`, or add data.background"
        )
    counts = [0] * len(names)
    for entry in (entry for manifest in train for entry in manifest.entries):
        for label in entry.labels:
            counts[label] += 1
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty and not classes and (recipe.loss.class_weights != "none" or not train[0].multi_label):
        raise DataError(
            f"cannot train on {section.path}: no training video shows {list_first(empty)}; "
            "add videos, or name the classes that they show in a file (data.only)"
        )
    frames = card.clip_frames if form is None else form.video_frames
    random = Sampling("random", rate_hz=card.rate_hz, frames=frames)
    middle = Sampling(rate_hz=card.rate_hz, frames=frames)
    transform = TrainTransform(card, section.short_side_px, 0.5 if section.flip else 0.0)
    return TrainingData(
        names,
        _VideoItems(
            [VideoClips(part, card, random, transform) for part in train], section.clips_per_video
        ),
        {
            "validation": _VideoItems(
                [VideoClips(part, card, middle, TestTransform(card)) for part in validation]
            )
        },
        batch=section.batch if form is None else form.streams,
        counts=tuple(counts),
        multi_label=train[0].multi_label,
        workers=section.workers,
        collate=collate_videos,
        division=parts.division,
    )


def collate_videos(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of clips, with a line in `broken` for each video that could not be read."""
    batch = collate_clips(items)
    broken = [f"{video.video_id}: {video.reason}" for video in batch["broken"]]
    if "clip" not in batch:
        raise DataError(
            f"cannot go on: no video of this batch can be read: {list_first(broken)}; run "
            "`co3d data doctor` and train on its clean manifest"
        )
    return {**batch, "broken": broken}


def _check_labels(manifests: Sequence[Manifest], section: VideoData) -> None:
    for manifest in manifests:
        bare = [e.video_id for e in manifest.entries if not e.labels and not manifest.multi_label]
        if bare or not manifest.entries:
            what = f"no label is known of {list_first(bare)}" if bare else "a split has no videos"
            raise DataError(f"cannot train on {section.path}: {what}; correct its annotations")


def _check_loss(manifest: Manifest, recipe: Recipe) -> None:
    fitting = "binary_cross_entropy" if manifest.multi_label else "cross_entropy"
    if recipe.loss.kind != fitting:
        several = "several classes" if manifest.multi_label else "one class"
        raise RecipeError(
            f"cannot train with loss.kind {recipe.loss.kind}: a video of this set shows {several}; "
            f"set loss.kind={fitting}"
        )
