"""UCF101: the official lists of its three divisions, with class folders of videos."""

import re
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.numbered_splits import make_manifest, read_division
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest
from co3d.datasets.text_lines import check_relative, read_lines
from co3d.errors import DataError

LIST = re.compile(r"(train|test)list0([1-3])\.txt")
CLASSES_FILE = "classInd.txt"
VIDEOS = "UCF-101"


def is_ucf_list(path: Path) -> bool:
    """Whether a file is an official list, with the classes beside it."""
    return bool(LIST.fullmatch(path.name)) and (path.parent / CLASSES_FILE).is_file()


def open_ucf101(finder: VideoFinder, paths: Sequence[Path], split: str | None) -> Manifest:
    """The videos of the official lists, whose classes are folder names numbered from one.

    Args:
        finder: of the videos in the set's folder. paths: its lists.
        split: "train" and "test" are those of the first division, "test2" that of the second. None
            reads the first.

    Raises:
        DataError: a list is broken or absent.
    """
    number, ending = read_division(split)
    if len(paths) == 1:  # the user named the list
        number = int(paths[0].stem[-1])
    chosen = [path for path in paths if path.stem.endswith(f"0{number}")]
    if not chosen:
        raise DataError(
            f"cannot read {finder.root}: got no list of division {number}; fetch the official lists"
        )
    names = _read_names(chosen[0].parent / CLASSES_FILE)
    rows = []
    for path in chosen:
        kind = path.name.partition("list")[0]
        for line in read_lines(path):
            name, _, label = line.text.strip().partition(" ")
            folder = name.partition("/")[0]
            if folder not in names or label not in ("", str(names.index(folder) + 1)):
                line.refuse(line.text, "CLASS/VIDEO.avi, and the class's number in training lists")
            found = finder.find(check_relative(line, name), path.parent, kind, line)
            rows.append((found or f"{VIDEOS}/{name}", names.index(folder), kind + ending))
    return make_manifest(finder.root, names, rows)


def _read_names(path: Path) -> list[str]:
    names = []
    for line in read_lines(path):
        number, _, name = line.text.strip().partition(" ")
        if number != str(len(names) + 1) or not name:
            line.refuse(line.text, f"{len(names) + 1} and the name of a class")
        names.append(name)
    return names
