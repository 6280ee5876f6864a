"""Names of splits, and choosing the annotation file of a split."""

import re
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.manifest import Manifest
from co3d.errors import DataError, OptionError

SPELLINGS = {
    "train": frozenset({"train", "training"}),
    "val": frozenset({"val", "valid", "validate", "validation"}),
    "test": frozenset({"test", "testing"}),
}
FOLDERS = ("", "splits", "annotations")
"""Folders under a data set in which lists are searched."""

LIST_FOLDERS = frozenset(
    {"splits", "annotations", "frame_lists", "labels", "ucfTrainTestlist"}
    | {"testTrainMulti_7030_splits"}
)
"""Folders of lists: a list in one of them belongs to the data set in the folder above."""


ALL = "all"
"""Stands for all splits of a set where a split is expected."""


def is_split(name: str, split: str) -> bool:
    """Whether a name, such as "validate", means the given split, such as "val"."""
    return name_split(name) == name_split(split)


def find_split(text: str) -> str | None:
    """The split in a file name such as "kinetics400_val_list", if any."""
    words = re.split(r"[^a-z]+", text.casefold())
    found = {split for split, spellings in SPELLINGS.items() if spellings & set(words)}
    return found.pop() if len(found) == 1 else None


def find_folder_split(folders: Sequence[str]) -> str | None:
    """The split that the innermost of these folders is named after; None if there is none."""
    known = (name_split(name) for name in reversed(folders))
    return next((name for name in known if name in SPELLINGS), None)


def list_annotations(root: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files with such a suffix in the folders for annotations.

    If a list is published as CSV and as JSON under one name, the CSV is returned.
    """
    paths = sorted(
        path
        for folder in FOLDERS
        if (root / folder).is_dir()
        for path in (root / folder).iterdir()
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
    )
    first_of_name = {path.with_suffix(""): path for path in reversed(paths)}
    return sorted(first_of_name.values())


def choose_annotations(
    root: Path, paths: Sequence[Path], split: str | None
) -> list[tuple[Path, str | None]]:
    """The annotation files to read, each with the split in its name.

    Args:
        root: folder of the set.
        paths: its annotation files.
        split: the one to read; None reads those of all splits.

    Raises:
        DataError: there is none, or several match.
    """
    named = [(path, find_split(path.stem)) for path in paths]
    if len(named) == 1:  # the file may have a column of splits
        return named
    chosen = [pair for pair in named if split is None or pair[1] == name_split(split)]
    splits = [name for _, name in chosen]
    if not chosen or None in splits or len(set(splits)) != len(splits):
        found = ", ".join(
            (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
            for path in paths
        )
        raise DataError(
            f"cannot tell which annotations of {root} are meant: got "
            f"{'no split' if split is None else f'the split {split!r}'} and the files {found}, "
            "expected one file of each split; name a split, or give the path of the file"
        )
    return chosen


def take_split(manifest: Manifest, split: str) -> Manifest:
    """The videos of one split.

    Raises:
        DataError: the set has no videos in it.
        OptionError: the set has no splits at all.
    """
    if set(manifest.splits) <= {None}:
        raise OptionError(
            f"cannot take the split {split!r} of {manifest.root}: got a set without splits; leave "
            "it out"
        )
    part = manifest.take_split(name_split(split))
    if not part.entries:
        raise DataError(
            f"cannot use {manifest.root}: got no video of the split {split!r}, expected one of "
            f"{describe_splits(manifest)}; name another"
        )
    return part


def take_only_split(manifest: Manifest) -> Manifest:
    """Return the manifest if its set is not divided into splits.

    Raises:
        DataError: the set has several splits, which are only mixed on request.
    """
    if len(manifest.splits) > 1:
        raise DataError(
            f"cannot tell which split of {manifest.root} is meant: got "
            f"{describe_splits(manifest)}, expected the name of one; name a split, or {ALL!r} to "
            "mix them"
        )
    return manifest


def take_evaluation_split(manifest: Manifest, order: Sequence[str]) -> Manifest:
    """The split on which networks are evaluated.

    Args:
        manifest: of all splits.
        order: names of splits, the preferred one first. Splits with unknown labels, such as
            published test sets, and those without any video on disk are skipped.

    Raises:
        DataError: the set has several splits, and none of these.
    """
    if len(manifest.splits) < 2:
        return manifest
    for name in order:
        part = manifest.take_split(name)
        labelled = part.multi_label or all(entry.labels for entry in part.entries)
        if labelled and any(part.resolve(entry).exists() for entry in part.entries):
            return part
    return take_only_split(manifest)


def describe_splits(manifest: Manifest) -> str:
    """The splits and how many videos each has, as in "test (2 videos), train (6 videos)"."""
    return ", ".join(
        f"{name or 'no split'} ({count_videos(count)})" for name, count in manifest.splits.items()
    )


def count_videos(count: int) -> str:
    """The number with its noun."""
    return f"{count} video{'s' * (count != 1)}"


def name_split(name: str) -> str:
    """The canonical name of a split: "val" for "validate"."""
    word = name.casefold()
    return next((split for split, words in SPELLINGS.items() if word in words), word)
