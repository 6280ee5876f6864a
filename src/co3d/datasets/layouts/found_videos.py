"""Find the videos under a folder: files, and folders of frames."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from co3d.video.folder import PICTURE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4"})
VIDEO_SUFFIXES |= {".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}

TEXT_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".tsv", ".txt"})
MOST_LISTS = 1000
"""The most lists that are read in one folder."""


@dataclass(frozen=True)
class FoundVideo:
    """A video on disk.

    Attributes:
        path: relative to the folder that was searched, with / between folders.
        name: without folders and suffix.
        parents: names of the folders between, outermost first.
        is_folder: whether it is a folder of frames.
    """

    path: str
    name: str
    parents: tuple[str, ...]
    is_folder: bool


def find_videos(root: Path) -> list[FoundVideo]:
    """All videos under a folder, links followed, in order of their paths.

    A folder of frames holds pictures and neither videos nor folders. Hidden files are ignored.
    """
    return search(root)[0]


def search(root: Path) -> tuple[list[FoundVideo], list[Path]]:
    """All videos under a folder, and the text files that may be lists of them, by path.

    A text file named like a video beside it, or one of many in a folder, is not a list, since it
    belongs to a single video.
    """
    videos: list[FoundVideo] = []
    texts: list[Path] = []
    for item in _walk(root, (), {os.path.realpath(root)}):
        if isinstance(item, FoundVideo):
            videos.append(item)
        else:
            texts.append(item)
    return sorted(videos, key=lambda video: video.path), sorted(texts)


def _walk(folder: Path, parents: tuple[str, ...], seen: set[str]) -> Iterator[FoundVideo | Path]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as items:
        for item in items:
            if not item.name.startswith("."):
                (folders if _is_folder(item) else files).append(item.name)
    videos = [name for name in files if _suffix(name) in VIDEO_SUFFIXES]
    if parents and not videos and not folders and _hold_pictures(files):
        yield FoundVideo("/".join(parents), parents[-1], parents[:-1], is_folder=True)
        return
    stems = {name.rpartition(".")[0] for name in videos}
    texts = [name for name in files if _suffix(name) in TEXT_SUFFIXES]
    lists = [name for name in texts if name.rpartition(".")[0] not in stems]
    if len(lists) <= MOST_LISTS:
        yield from (folder / name for name in lists)
    for name in videos:
        path = "/".join((*parents, name))
        yield FoundVideo(path, name.rpartition(".")[0], parents, is_folder=False)
    for name in folders:
        place = os.path.realpath(folder / name)
        if place not in seen:  # else a link may form a cycle
            seen.add(place)
            yield from _walk(folder / name, (*parents, name), seen)


def _is_folder(item: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one; a link to itself is not."""
    try:
        return item.is_dir()
    except OSError:
        return False


def _hold_pictures(names: list[str]) -> bool:
    return any(_suffix(name) in PICTURE_SUFFIXES for name in names)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2].lower()
