"""The training and validation videos of a run: splits, held-out videos, background."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from co3d.datasets.layouts import ALL, describe_splits, open_dataset
from co3d.datasets.layouts.found_videos import find_videos
from co3d.datasets.layouts.splits import count_videos, name_split, take_only_split
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.source_videos import name_source
from co3d.environment import find_dataset
from co3d.errors import DataError, RecipeError
from co3d.models.labels import read_label_file
from co3d.printable import list_first
from co3d.training.batches import mix_seeds
from co3d.training.recipe import VideoData

_LOG = logging.getLogger("co3d")
BACKGROUND = "background"
TRAIN, VALIDATION = "train", "val"


@dataclass(frozen=True)
class Parts:
    """The training and validation videos of a run.

    Attributes:
        train, validation: manifests; the second one of each, if any, is background.
        division: description in words, with numbers of videos.
    """

    train: list[Manifest]
    validation: list[Manifest]
    division: str


def open_parts(section: VideoData, seed: int, classes: Sequence[str] | None = None) -> Parts:
    """The videos to train on and those to validate on, without overlap.

    Existing splits are respected. If the recipe names none, "train" is used for training, and "val"
    for validation, or without it a share of "train"; "test" is never used.

    Args:
        section: which videos. seed: decides which are held out.
        classes: the network's class names, if it keeps its own; None for those of the data.

    Raises:
        DataError: there are no such videos, or a video is in both parts.
        RecipeError: no path is set.
    """
    if not section.path:
        raise RecipeError("cannot train on videos: data.path is not set; add data.path=FOLDER")
    path = Path(section.path)
    options: dict[str, Any] = {
        "layout": section.layout,
        "classes": classes or section.classes,
        "root": section.root and Path(section.root),
        "labels": section.labels and read_label_file(Path(section.labels), "data.labels"),
        "only": section.only and read_label_file(Path(section.only), "data.only"),
    }
    whole = train = open_dataset(path, split=section.train_split or ALL, **options)
    _check_empty_folders(path, whole)
    train_split, validation_split = section.train_split, section.validation_split
    if train_split == ALL:
        whole = train = replace(whole, entries=tuple(replace(e, split=None) for e in whole.entries))
    elif train_split is None and any(whole.splits):
        train_split, train = TRAIN, whole.take_split(TRAIN)
        if not train.entries:
            raise DataError(
                f"cannot train on {path}: got {describe_splits(whole)}, expected a split named "
                f"{TRAIN}; set data.train_split, or data.train_split={ALL} to mix them"
            )
        validation_split = validation_split or (VALIDATION if VALIDATION in whole.splits else None)
    if validation_split is None:
        train, validation = hold_out(train, section.validation_share, seed)
    else:
        known = {**options, "classes": options["classes"] or list(whole.class_names)}
        validation = open_dataset(path, split=validation_split, **known)
        if validation_split != section.train_split:
            _check_apart(train, validation)
    used = [name_split(split) for split in (train_split, validation_split) if split]
    others = [name for name in whole.splits if name and name not in used]
    trained, validated = (count_videos(len(part.entries)) for part in (train, validation))
    trained += f" of the split {train_split}" if train_split else ""
    validated += f" of the split {validation_split}" if validation_split else " held out of these"
    division = f"training on {trained}, validating on {validated}"
    division += f"; left alone: {', '.join(others)}" if others else ""
    if section.background is None:
        return Parts([train], [validation], division)
    background = _open_background(Path(section.background), whole)
    named = [replace(part, class_names=background.class_names) for part in (train, validation)]
    added = hold_out(background, section.validation_share, seed)
    return Parts([named[0], added[0]], [named[1], added[1]], division)


def _check_apart(train: Manifest, validation: Manifest) -> None:
    """DataError if a part of a video is on both sides; say what was cut from one video."""
    seen = {(train.resolve(e), e.start_seconds, e.end_seconds) for e in train.entries}
    both = [
        e.video_id
        for e in validation.entries
        if (validation.resolve(e), e.start_seconds, e.end_seconds) in seen
    ]
    if both:
        raise DataError(
            f"cannot train on {train.root}: got {len(both)} videos that are to be trained and "
            f"validated on ({list_first(both)}), expected none; take them out of one list"
        )
    trained = set(map(name_source, train.entries))
    shared = [e.video_id for e in validation.entries if name_source(e) in trained]
    if shared:
        _LOG.warning(
            "%s to validate on: cut from the same source as some to train on (%s), so that a "
            "network need only remember it",
            count_videos(len(shared)),
            list_first(shared),
        )


def hold_out(manifest: Manifest, share: float, seed: int) -> tuple[Manifest, Manifest]:
    """Split a manifest in two, holding out this share of each class, but at least one video.

    For a multi-label set it is a share of all videos. Videos cut from one source stay together,
    because a network could recognise the scene instead of the action.

    Raises:
        DataError: a class has a single source video, all of a class would be held out, or the
            manifest mixes splits.
    """
    take_only_split(manifest)
    source_of = {entry.video_id: name_source(entry) for entry in manifest.entries}
    groups: dict[tuple[int, ...], list[VideoEntry]] = defaultdict(list)
    for entry in manifest.entries:
        groups[() if manifest.multi_label else entry.labels].append(entry)
    names = manifest.class_names
    single = [
        names[labels[0]]
        for labels, group in groups.items()
        if labels and len({source_of[entry.video_id] for entry in group}) == 1
    ]
    if single:
        raise DataError(
            f"cannot hold out videos of {manifest.root} for validation: there is one video only of "
            f"{list_first(single)} (clips of one source video stay together); add videos, or name "
            "a validation split (data.validation_split)"
        )
    held: set[str] = set()
    for labels, group in groups.items():
        generator = torch.Generator().manual_seed(mix_seeds(seed, *labels))
        _hold_sources(held, [source_of[entry.video_id] for entry in group], share, generator)
    parts = [
        replace(
            manifest,
            entries=tuple(
                e for e in manifest.entries if (source_of[e.video_id] in held) is is_held
            ),
        )
        for is_held in (False, True)
    ]
    trained = {entry.labels for entry in parts[0].entries}
    lost = [names[labels[0]] for labels in groups if labels and labels not in trained]
    if lost:
        raise DataError(
            f"cannot hold out videos of {manifest.root} for validation: every source video of "
            f"{list_first(lost)} also shows a class of which it is held out; name a validation "
            "split (data.validation_split)"
        )
    return parts[0], parts[1]


def _hold_sources(
    held: set[str], sources: list[str], share: float, generator: torch.Generator
) -> None:
    """Add sources of a class to the held-out ones until they contain this share of its videos.

    Args:
        held: sources held out so far, for other classes.
        sources: of each video of the class. share: to hold out; at least one video.
        generator: for the random choice.
    """
    known = list(dict.fromkeys(sources))
    wanted = min(len(sources) - 1, max(1, round(share * len(sources))))
    for index in torch.randperm(len(known), generator=generator).tolist():
        count = sum(source in held for source in sources)
        if count >= wanted or len(held.intersection(known)) == len(known) - 1:
            return
        held.add(known[index])


def _open_background(path: Path, beside: Manifest) -> Manifest:
    """All videos under a folder, with a new last class, or without labels in a multi-label set."""
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
    """Raise DataError for class folders without a video."""
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
            f"cannot train on {path}: there is no video in the class folders "
            f"{list_first(empty)}; add videos, or remove these folders"
        )
