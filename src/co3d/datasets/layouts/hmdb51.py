"""HMDB51: the official files of its three divisions, one a class, with class folders of videos."""

import re
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.numbered_splits import make_manifest, read_division
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest
from co3d.datasets.text_lines import check_relative, read_lines
from co3d.errors import DataError

LIST = re.compile(r"(.+)_test_split([1-3])\.txt")
SPLITS = {"1": "train", "2": "test"}
"""Mark in the files -> split; videos marked 0 are in neither."""

VIDEOS = "hmdb51_org"


def is_hmdb_list(path: Path) -> bool:
    """Whether a file is one of a class's official files."""
    return bool(LIST.fullmatch(path.name))


def open_hmdb51(finder: VideoFinder, paths: Sequence[Path], split: str | None) -> Manifest:
    """The videos of one division, by the official files of all classes.

    Args:
        finder: of the videos in the set's folder. paths: its files.
        split: "train" and "test" are those of the first division, "test2" that of the second. None
            reads the first.

    Raises:
        DataError: a file is broken, or there is none of the division.
    """
    number, ending = read_division(split)
    files: dict[str, Path] = {}
    for path in paths:
        match = LIST.fullmatch(path.name)
        if match and int(match[2]) == number:
            files[match[1]] = path
    if not files:
        raise DataError(
            f"cannot read {finder.root}: got no file of division {number}, expected names such as "
            f"brush_hair_test_split{number}.txt; fetch the official files"
        )
    names = sorted(files)
    rows = []
    for label, name in enumerate(names):
        for line in read_lines(files[name]):
            video, _, mark = line.text.strip().rpartition(" ")
            if mark not in (*SPLITS, "0"):
                line.refuse(line.text, "a video and 0, 1 or 2")
            if mark in SPLITS:
                video = check_relative(line, f"{name}/{video.strip()}")
                found = finder.find(video, files[name].parent, None, line)
                rows.append((found or f"{VIDEOS}/{video}", label, SPLITS[mark] + ending))
    return make_manifest(finder.root, names, rows)
