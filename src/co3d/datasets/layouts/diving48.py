"""Diving48: published JSON lists of dives, beside videos that are named by them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from co3d.datasets.layouts.json_files import has_head, read_json
from co3d.datasets.layouts.splits import choose_annotations
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import Line, check_relative, number_ids

ITEM = re.compile(rb'\s*\[\s*\{[^}]*"vid_name"')
CLASSES = 48
VIDEOS = "rgb"


def is_diving_list(path: Path) -> bool:
    """Whether a file begins like a published list: objects with "vid_name" and "label"."""
    return has_head(path, ITEM)


def open_diving(finder: VideoFinder, paths: Sequence[Path], split: str | None) -> Manifest:
    """The dives of the published lists, of 48 classes.

    A class is named by the parts of its dive, as in "Back 15som 05Twis FREE", if the published
    vocabulary (`Diving48_vocab.json`) is beside the lists, else by its number.

    Args:
        finder: of the videos in the set's folder. paths: its lists. split: whose list is read; None
            reads all.

    Raises:
        DataError: a list is broken.
    """
    names = _read_names(finder, paths) or tuple(map(str, range(CLASSES)))
    items: list[tuple[Line, str, int, str | None]] = []
    for path, named in choose_annotations(finder.root, paths, split):
        whole = Line(path, 1, "")
        for item in read_json(path, list):
            name, label = _read_item(whole, item, len(names))
            items.append((whole, name, label, named))
    entries = []
    ids = number_ids(name for _, name, _, _ in items)
    for unique_id, (whole, name, label, named) in zip(ids, items, strict=True):
        found = finder.find(name, whole.path.parent, named, whole)
        path = found or check_relative(whole, f"{VIDEOS}/{name}.mp4")
        # One number a dive, after the name of the competition's video.
        source = name.rpartition("_")[0] or name
        entries.append(VideoEntry(unique_id, path, (label,), split=named, source=source))
    return Manifest(finder.root, names, tuple(entries))


def _read_item(whole: Line, item: Any, classes: int) -> tuple[str, int]:
    name, label = (
        item.get(key) if isinstance(item, dict) else None for key in ("vid_name", "label")
    )
    if not isinstance(name, str) or not name or "/" in name:
        whole.refuse(item, 'objects with a name as "vid_name"')
    if type(label) is not int or not 0 <= label < classes:
        whole.refuse(item, f'a number from 0 to {classes - 1} as "label"')
    return name, label


def _read_names(finder: VideoFinder, paths: Sequence[Path]) -> tuple[str, ...]:
    folders = {path.parent for path in paths}
    for path in finder.texts:
        if path.parent in folders and "vocab" in path.stem.casefold() and path.suffix == ".json":
            dives = read_json(path, list)
            if len(dives) != CLASSES or not all(isinstance(dive, list) for dive in dives):
                Line(path, 1, "").refuse(dives, f"the parts of {CLASSES} dives")
            return tuple(" ".join(map(str, dive)) for dive in dives)
    return ()
