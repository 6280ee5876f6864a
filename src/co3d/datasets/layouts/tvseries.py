"""TVSeries (De Geest et al., Online Action Detection, 2016): published lists of timed actions.

The lines of `GT-train.txt`, `GT-val.txt` and `GT-test.txt` have, separated by tabs, the episode
(`Breaking_Bad_ep1`), the class, start and end in seconds, and notes on the recording.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.timed_actions import TimedActions
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest
from co3d.datasets.text_lines import Line, read_lines

NAME = re.compile(r"GT-(train|val|test)\.txt")
EPISODE = re.compile(r"\w+_ep\d+", re.ASCII)
CLASSES = "classes.txt"
_HEAD_BYTES = 4096


def is_tvseries_list(path: Path) -> bool:
    """Whether a file is named like a published list and has its form in line one or two."""
    if not NAME.fullmatch(path.name) or not path.is_file():
        return False
    with path.open("rb") as file:
        lines = [file.readline(_HEAD_BYTES).decode("utf-8", "replace") for _ in range(2)]
    return any(EPISODE.fullmatch(line.split("\t")[0]) and line.count("\t") >= 3 for line in lines)


def open_tvseries(finder: VideoFinder, paths: Sequence[Path], split: str | None) -> Manifest:
    """The episodes of the lists, multi-label, with the times of their actions.

    Classes are those of `classes.txt` beside the lists, a name a line; without it, the names in the
    lists in alphabetical order, which the authors use, too.

    Args:
        finder: of the videos in the set's folder. paths: its lists. split: "train", "val" or
            "test"; None reads all.

    Raises:
        DataError: a list is broken, or names a class that is not in `classes.txt`.
    """
    rows = [(path, line, cells) for path in paths for line, cells in _read_rows(path)]
    listed = next((path.parent / CLASSES for path in paths if _has_classes(path)), None)
    if listed is None:
        names = sorted({cells[1] for _, _, cells in rows})
    else:
        names = [line.text.strip() for line in read_lines(listed)]
    index_of = {name: index for index, name in enumerate(names)}
    actions = TimedActions(finder, names)
    for path, line, cells in rows:
        episode, name = cells[:2]
        if name not in index_of:
            line.refuse(name, f"one of the {len(names)} classes of {listed}")
        times = (_read_seconds(line, cells[2]), _read_seconds(line, cells[3]))
        actions.add(line, episode, path.stem.partition("-")[2], index_of[name], times)
    return actions.to_manifest(split)


def _has_classes(path: Path) -> bool:
    return (path.parent / CLASSES).is_file()


def _read_rows(path: Path) -> list[tuple[Line, list[str]]]:
    """The lines of a list and their cells, without headings."""
    rows = []
    for line in read_lines(path):
        cells = [cell.strip() for cell in line.text.split("\t")]
        if EPISODE.fullmatch(cells[0]) and len(cells) >= 4:
            rows.append((line, cells))
        elif line.number > 1:
            line.refuse(line.text, "an episode, a class, its start and its end, with tabs between")
    return rows


def _read_seconds(line: Line, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e6:
        line.refuse(text, "a time in seconds")
    return seconds
