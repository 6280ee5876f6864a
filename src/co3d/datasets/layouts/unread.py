"""Text files beside videos that name them, and that no layout understands."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from co3d.datasets.layouts.found_videos import FoundVideo
from co3d.datasets.layouts.list_rows import read_rows
from co3d.datasets.layouts.shelf import Shelf
from co3d.errors import DataError

MAX_CHARACTERS = 1 << 26
MAX_LINES = 1000
TELLING = 5
"""Shorter names, such as "1", stand in any text: such files are looked for with their suffixes."""


def refuse_unread(shelf: Shelf, read: Sequence[Path] = ()) -> None:
    """Look for annotations that would be passed over without a word.

    Args:
        shelf: the folder of the set.
        read: its lists. Where there are some, only files of other splits are looked at.

    Raises:
        DataError: a text file names half of the videos or more, or half of its lines name one.
    """
    splits = {shelf.find_list_split(path) for path in read} | {None}
    left = [path for path in shelf.texts if path not in read]
    if read:
        left = [path for path in left if shelf.find_list_split(path) not in splits]
    names = [_list_names(video) for video in shelf.videos] if left else []
    known = set().union(*names)
    for path in left if names else ():
        if _speaks_of(path, names, known):
            _refuse(shelf, path)


def _speaks_of(path: Path, names: Sequence[set[str]], known: set[str]) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = [_split(line) & known for line in islice(file, MAX_LINES)]
            found = set().union(*lines) | (_split(file.read(MAX_CHARACTERS)) & known)
    except OSError:
        return False
    told = sum(not own.isdisjoint(found) for own in names)
    return 2 * told >= len(names) or 2 * sum(map(bool, lines)) >= max(len(lines), 1)


def _list_names(video: FoundVideo) -> set[str]:
    """What a text may call a video."""
    file_name = video.path.rpartition("/")[2]
    return {file_name, video.name} if len(video.name) >= TELLING else {file_name}


def _split(text: str) -> set[str]:
    return set(re.findall(r"[\w.-]+", text))


def _refuse(shelf: Shelf, path: Path) -> NoReturn:
    try:
        read_rows(path)
        reason = "it lists other paths than those of the videos"
    except DataError as error:
        reason = str(error).rpartition("; ")[0]
    raise DataError(
        f"cannot label the videos of {shelf.root}: got {path.relative_to(shelf.root)}, which names "
        f"them and cannot be used as their annotations ({reason}), expected a layout that "
        "`open_dataset` knows; write it as path,label or as a manifest, or choose the layout "
        "folders if the folders are the classes"
    )
