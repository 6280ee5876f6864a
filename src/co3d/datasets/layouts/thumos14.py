"""THUMOS14 (and MultiTHUMOS): published lists of the times of each class, one file per class."""

import re
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.timed_actions import TimedActions
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest
from co3d.datasets.text_lines import read_lines

NAME = re.compile(r"([A-Za-z]+?)(?:_(?:val|test))?\.txt")
ROW = re.compile(
    r"(video_(validation|test)_\d{7})\s+(\d{1,6}(?:\.\d+)?)\s+(\d{1,6}(?:\.\d+)?)\s*", re.ASCII
)
AMBIGUOUS = "Ambiguous"
"""Lists of ambiguous actions, which are no class and are ignored."""

_HEAD_BYTES = 200


def is_thumos_list(path: Path) -> bool:
    """Whether a file is named as a published list is, and begins as one."""
    if not NAME.fullmatch(path.name) or not path.is_file():
        return False
    with path.open("rb") as file:
        return ROW.fullmatch(file.readline(_HEAD_BYTES).decode("utf-8", "replace")) is not None


def open_thumos(finder: VideoFinder, paths: Sequence[Path], split: str | None) -> Manifest:
    """The videos of the lists, multi-label, with the times of their actions.

    Classes are the names of the files, in order. Videos without any action are in no list, and do
    not belong to the set.

    Args:
        finder: of the videos in the set's folder. paths: its lists. split: "val" or "test"; None
            reads both.

    Raises:
        DataError: a list is broken.
    """
    named = [(path, NAME.fullmatch(path.name)) for path in paths]
    classes = {path: match[1] for path, match in named if match and match[1] != AMBIGUOUS}
    names = tuple(sorted(set(classes.values())))
    actions = TimedActions(finder, names)
    for path, name in classes.items():
        for line in read_lines(path):
            match = ROW.fullmatch(line.text)
            if match is None:
                line.refuse(line.text, "a video's name, and the start and end of an action")
            times = (float(match[3]), float(match[4]))
            actions.add(line, match[1], match[2], names.index(name), times)
    return actions.to_manifest(split)
