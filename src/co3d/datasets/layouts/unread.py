"""Detect text files that name videos of a set, but that no layout understands."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from co3d.datasets.layouts.found_videos import FoundVideo
from co3d.datasets.layouts.list_rows import read_rows
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.errors import DataError

MAX_CHARACTERS = 1 << 26
MAX_LINES = 1000
TELLING = 5
"""Shorter names, such as "1", occur in any text, so they are searched for with their suffixes."""


def refuse_unread(finder: VideoFinder, read: Sequence[Path] = ()) -> None:
    """Raise if there are annotations that would be ignored silently.

    Args:
        finder: of the videos in the set's folder.
        read: the lists that were read. If there are some, only files of other splits are checked.

    Raises:
        DataError: a text file names at least half of the videos, or half of its lines name one.
    """
    splits = {finder.find_list_split(path) for path in read} | {None}
    left = [path for path in finder.texts if path not in read]
    if read:
        left = [path for path in left if finder.find_list_split(path) not in splits]
    names = [_list_names(video) for video in finder.videos] if left else []
    known = set().union(*names)
    for path in left if names else ():
        if _speaks_of(path, names, known):
            _refuse(finder, path)


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
    """The names by which a text may refer to a video."""
    file_name = video.path.rpartition("/")[2]
    return {file_name, video.name} if len(video.name) >= TELLING else {file_name}


def _split(text: str) -> set[str]:
    return set(re.findall(r"[\w.-]+", text))


def _refuse(finder: VideoFinder, path: Path) -> NoReturn:
    try:
        read_rows(path)
        reason = "it lists other paths than those of the videos"
    except DataError as error:
        reason = str(error).rpartition("; ")[0]
    raise DataError(
        f"cannot label the videos of {finder.root}: got {path.relative_to(finder.lists_root)}, "
        f"which names them and cannot be used as annotations ({reason}), expected a layout that "
        "`open_dataset` knows; write it as path,label or as a manifest, or choose the layout "
        "folders if the folders are the classes"
    )
