"""Videos of a data set, as a run takes them: splits, background, and what is wrong with them."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from co3d.datasets.clips import VideoClips, collate_clips
from co3d.datasets.layouts import open_dataset
from co3d.datasets.layouts.found_videos import find_videos
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform, TrainTransform
from co3d.environment import find_dataset
from co3d.errors import DataError, RecipeError
from co3d.models.card import ModelCard
from co3d.training.batches import Key, TrainingData, mix_seeds
from co3d.training.recipe import Recipe, StreamForm, VideoData

BACKGROUND = "background"
SHOWN = 5


class _VideoItems:
    """Clips of several manifests, one after another, each video several times."""

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
    section: VideoData, card: ModelCard, form: StreamForm | None, recipe: Recipe
) -> TrainingData:
    """Find the videos of a recipe and hold some out for validation.

    Args:
        section: which videos. card: how the clips are fed to the network.
        form: the stream form, whose videos are long clips; None for clips.
        recipe: says seed and loss.

    Raises:
        DataError: no videos, empty class folders, classes with too few videos, videos without a
            label.
        RecipeError: the loss does not fit the labels.
    """
    train, validation = _open_splits(section, recipe.seed)
    _check_loss(train[0], recipe)
    names = train[0].class_names
    for manifests in (train, validation):
        _check_labels(manifests, section)
    counts = [0] * len(names)
    for entry in (entry for manifest in train for entry in manifest.entries):
        for label in entry.labels:
            counts[label] += 1
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty and (recipe.loss.class_weights != "none" or not train[0].multi_label):
        raise DataError(
            f"cannot train on {section.path}: no training video shows {_list(empty)}; add videos, "
            "or leave these classes out"
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
    )


def collate_videos(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of clips, and in `broken` a line for each video that could not be read."""
    batch = collate_clips(items)
    broken = [f"{video.video_id}: {video.reason}" for video in batch["broken"]]
    if "clip" not in batch:
        raise DataError(
            f"cannot go on: no video of this batch can be read: {_list(broken)}; run `co3d data "
            "doctor` and train on its clean manifest"
        )
    return {**batch, "broken": broken}


def hold_out(manifest: Manifest, share: float, seed: int) -> tuple[Manifest, Manifest]:
    """Split a manifest in two, so that of each class this share, and at least one, is held out.

    Of a multi-label set it is a share of all videos.

    Raises:
        DataError: a class has a single video.
    """
    groups: dict[tuple[int, ...], list[VideoEntry]] = defaultdict(list)
    for entry in manifest.entries:
        groups[() if manifest.multi_label else entry.labels].append(entry)
    names = manifest.class_names
    single = [names[labels[0]] for labels, group in groups.items() if labels and len(group) == 1]
    if single:
        raise DataError(
            f"cannot hold out videos of {manifest.root} for validation: there is one video only of "
            f"{_list(single)}; add videos, or name a validation split (data.validation_split)"
        )
    held: set[str] = set()
    for labels, group in groups.items():
        generator = torch.Generator().manual_seed(mix_seeds(seed, *labels))
        order = torch.randperm(len(group), generator=generator).tolist()
        count = min(len(group) - 1, max(1, round(share * len(group))))
        held.update(group[index].video_id for index in order[:count])
    parts = [
        dataclasses.replace(
            manifest,
            entries=tuple(e for e in manifest.entries if (e.video_id in held) is is_held),
        )
        for is_held in (False, True)
    ]
    return parts[0], parts[1]


def _open_splits(section: VideoData, seed: int) -> tuple[list[Manifest], list[Manifest]]:
    if not section.path:
        raise RecipeError("cannot train on videos: data.path is not set; add data.path=FOLDER")
    path = Path(section.path)
    options: dict[str, Any] = {"layout": section.layout, "classes": section.classes}
    whole = open_dataset(path, split=section.train_split, **options)
    _check_empty_folders(path, whole)
    if section.validation_split is not None:
        known = {**options, "classes": section.classes or list(whole.class_names)}
        parts = [whole, open_dataset(path, split=section.validation_split, **known)]
    else:
        parts = [*hold_out(whole, section.validation_share, seed)]
    if section.background is None:
        return parts[:1], parts[1:]
    background = _open_background(Path(section.background), whole)
    named = [dataclasses.replace(part, class_names=background.class_names) for part in parts]
    added = hold_out(background, section.validation_share, seed)
    return [named[0], added[0]], [named[1], added[1]]


def _open_background(path: Path, beside: Manifest) -> Manifest:
    """All videos under a folder, under a last class of their own, or under none if multi-label."""
    root = find_dataset(path)
    videos = find_videos(root) if root.is_dir() else []
    if len(videos) < 2:
        raise DataError(
            f"cannot take {root} as background: got {len(videos)} videos, expected a folder of at "
            "least two in which nothing of interest happens"
        )
    if BACKGROUND in beside.class_names:
        raise DataError(f"cannot add {root} as background: the data have such a class already")
    names = beside.class_names if beside.multi_label else (*beside.class_names, BACKGROUND)
    labels = () if beside.multi_label else (len(names) - 1,)
    entries = tuple(
        VideoEntry(f"{BACKGROUND}/{video.path}", video.path, labels) for video in videos
    )
    return Manifest(root, names, entries, beside.multi_label)


def _check_empty_folders(path: Path, manifest: Manifest) -> None:
    """DataError for folders of classes without a video, in a set of class folders."""
    parents = {Path(entry.path).parent for entry in manifest.entries}
    if not path.is_dir() or any(parent.name not in manifest.class_names for parent in parents):
        return
    places = {manifest.root / parent.parent for parent in parents}
    empty = sorted(
        folder.name
        for place in places
        for folder in place.iterdir()
        if folder.is_dir()
        and not folder.name.startswith(".")
        and folder.name not in manifest.class_names
        and not find_videos(folder)
    )
    if empty:
        raise DataError(
            f"cannot train on {path}: there is no video in the class folders {_list(empty)}; add "
            "videos, or remove these folders"
        )


def _check_labels(manifests: Sequence[Manifest], section: VideoData) -> None:
    for manifest in manifests:
        bare = [e.video_id for e in manifest.entries if not e.labels and not manifest.multi_label]
        if bare or not manifest.entries:
            what = f"no label is known of {_list(bare)}" if bare else "a split has no videos"
            raise DataError(f"cannot train on {section.path}: {what}; correct its annotations")


def _check_loss(manifest: Manifest, recipe: Recipe) -> None:
    fitting = "binary_cross_entropy" if manifest.multi_label else "cross_entropy"
    if recipe.loss.kind != fitting:
        several = "several classes" if manifest.multi_label else "one class"
        raise RecipeError(
            f"cannot train with loss.kind {recipe.loss.kind}: a video of this set shows {several}; "
            f"set loss.kind={fitting}"
        )


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
