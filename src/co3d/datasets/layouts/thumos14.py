"""THUMOS14: published lists of when each class happens, a file a class (MultiTHUMOS', too)."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.shelf import Shelf
from co3d.datasets.layouts.splits import name_split
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.text_lines import read_lines

NAME = re.compile(r"([A-Za-z]+?)(?:_(?:val|test))?\.txt")
ROW = re.compile(
    r"(video_(validation|test)_\d{7})\s+(\d{1,6}(?:\.\d+)?)\s+(\d{1,6}(?:\.\d+)?)\s*", re.ASCII
)
AMBIGUOUS = "Ambiguous"
"""Names no class: what happens then counts as nothing."""

_HEAD_BYTES = 200


def is_thumos_list(path: Path) -> bool:
    """Whether a file is named as a published list is, and begins as one."""
    if not NAME.fullmatch(path.name) or not path.is_file():
        return False
    with path.open("rb") as file:
        return ROW.fullmatch(file.readline(_HEAD_BYTES).decode("utf-8", "replace")) is not None


def open_thumos(shelf: Shelf, paths: Sequence[Path], split: str | None) -> Manifest:
    """The videos of the lists, multi-label, with the times of their actions.

    Classes are the names of the files, in order. Videos without any action stand in no list, and
    are not of the set.

    Args:
        shelf: the folder of the set. paths: its lists. split: "val" or "test"; None reads both.

    Raises:
        DataError: a list is broken.
    """
    named = [(path, NAME.fullmatch(path.name)) for path in paths]
    classes = {path: match[1] for path, match in named if match and match[1] != AMBIGUOUS}
    names = tuple(sorted(set(classes.values())))
    segments: dict[str, list[Segment]] = defaultdict(list)
    splits: dict[str, str] = {}
    places: dict[str, str] = {}
    for path, name in classes.items():
        for line in read_lines(path):
            match = ROW.fullmatch(line.text)
            if match is None:
                line.refuse(line.text, "a video's name, and the start and end of an action")
            video, start, end = match[1], float(match[3]), float(match[4])
            if end < start:
                line.refuse(line.text, "an end after the start")
            splits[video] = name_split(match[2])
            segments[video].append(Segment(names.index(name), start, end))
            if video not in places:
                places[video] = shelf.find(video, path.parent, None, line) or f"{video}.mp4"
    entries = tuple(
        VideoEntry(
            video_id=video,
            path=places[video],
            labels=tuple(sorted({segment.label for segment in segments[video]})),
            segments=tuple(sorted(segments[video], key=lambda s: (s.start_seconds, s.label))),
            split=splits[video],
        )
        for video in sorted(segments)
        if split is None or splits[video] == name_split(split)
    )
    return Manifest(shelf.root, names, entries, multi_label=True)
