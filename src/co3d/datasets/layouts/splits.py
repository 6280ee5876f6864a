"""Names of splits, and the annotation file of the split that is asked for."""

import re
from collections.abc import Sequence
from pathlib import Path

from co3d.errors import DataError

SPELLINGS = {
    "train": frozenset({"train", "training"}),
    "val": frozenset({"val", "valid", "validate", "validation"}),
    "test": frozenset({"test", "testing"}),
}
FOLDERS = ("", "splits", "annotations")
"""Where lists are looked for, under the folder of a data set."""

LIST_FOLDERS = frozenset({"splits", "annotations", "frame_lists"})
"""Folders of lists: one that is named by its path belongs to the data set above them."""


def is_split(name: str, split: str) -> bool:
    """Whether a name, such as "validate", means this split, such as "val"."""
    return name.casefold() in _spellings(split)


def names_split(text: str, split: str) -> bool:
    """Whether a file name such as "kinetics400_val_list" speaks of this split."""
    words = re.split(r"[^a-z]+", text.casefold())
    return any(word in _spellings(split) for word in words)


def list_annotations(root: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files with such a suffix in the places where annotations lie.

    Of lists that are published as CSV and JSON under one name, the CSV.
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


def choose_annotation(root: Path, paths: Sequence[Path], split: str | None) -> Path:
    """The annotation file of a split.

    Raises:
        DataError: there is none, or the choice is not clear.
    """
    chosen = [path for path in paths if split is None or names_split(path.stem, split)]
    if not chosen and len(paths) == 1:  # one file with a column of splits
        chosen = list(paths)
    if len(chosen) != 1:
        found = ", ".join(path.relative_to(root).as_posix() for path in paths)
        raise DataError(
            f"cannot tell which annotations of {root} are meant: got "
            f"{'no split' if split is None else f'the split {split!r}'} and the files {found}; "
            "name a split, or give the path of the file"
        )
    return chosen[0]


def _spellings(split: str) -> frozenset[str]:
    word = split.casefold()
    return next((words for words in SPELLINGS.values() if word in words), frozenset({word}))
