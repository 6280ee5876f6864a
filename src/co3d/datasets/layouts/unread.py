"""Text files beside videos that name them, and that no layout understands."""

import re
from pathlib import Path
from typing import NoReturn

from co3d.datasets.layouts.found_videos import FoundVideo
from co3d.datasets.layouts.list_rows import read_rows
from co3d.datasets.layouts.shelf import Shelf
from co3d.errors import DataError

PROBED = 50
MAX_CHARACTERS = 1 << 26
TELLING = 5
"""Shorter names, such as "1", stand in any text: such files are looked for with their suffixes."""


def refuse_unread(shelf: Shelf) -> None:
    """Look for annotations that would be passed over if folders were taken for classes.

    Raises:
        DataError: a text file names half of the videos or more.
    """
    videos = shelf.videos[:: max(1, len(shelf.videos) // PROBED)]
    if videos:
        for path in shelf.texts:
            if 2 * _count_named(path, videos) >= len(videos):
                _refuse(shelf, path)


def _count_named(path: Path, videos: list[FoundVideo]) -> int:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            words = set(re.findall(r"[\w.-]+", file.read(MAX_CHARACTERS)))
    except OSError:
        return 0
    named = 0
    for video in videos:
        file_name = video.path.rpartition("/")[2]
        named += file_name in words or (len(video.name) >= TELLING and video.name in words)
    return named


def _refuse(shelf: Shelf, path: Path) -> NoReturn:
    try:
        read_rows(path)
        reason = "it lists other paths than those of the videos"
    except DataError as error:
        reason = str(error).partition("; ")[0]
    raise DataError(
        f"cannot label the videos of {shelf.root}: got {path.relative_to(shelf.root)}, which names "
        f"them and cannot be used as their annotations ({reason}), expected a layout that "
        "`open_dataset` knows; write it as path,label or as a manifest, or choose the layout "
        "folders if the folders are the classes"
    )
