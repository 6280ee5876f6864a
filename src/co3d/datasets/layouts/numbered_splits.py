"""Split names of sets with three divisions, such as UCF101 and HMDB51."""

import re
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import number_ids
from co3d.errors import OptionError

DIVISIONS = 3


def read_division(split: str | None) -> tuple[int, str]:
    """The division that a split belongs to: the second for "test2", the first for "test" or None.

    Returns:
        Its number, and the suffix of its split names: "2", for instance, or nothing.

    Raises:
        OptionError: there is no such division.
    """
    match = re.fullmatch(r"[a-z]+(\d+)", (split or "").casefold())
    ending = match[1] if match else ""
    number = int(ending or 1)
    if not 1 <= number <= DIVISIONS:
        raise OptionError(
            f"cannot take the split {split!r}: got division {number}, expected 1 to {DIVISIONS}, "
            "as in test1"
        )
    return number, ending


def make_manifest(
    root: Path, names: Sequence[str], rows: Sequence[tuple[str, int, str]]
) -> Manifest:
    """The manifest of rows of (path, class, split), whose paths are their ids."""
    ids = number_ids(path for path, _, _ in rows)
    entries = tuple(
        VideoEntry(one, path, (label,), split=named)
        for one, (path, label, named) in zip(ids, rows, strict=True)
    )
    return Manifest(root, tuple(names), entries)
