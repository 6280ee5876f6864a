"""EPIC-Kitchens-100: published CSVs of narrated actions, each a part of a long video."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from co3d.datasets.layouts.splits import choose_annotations
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import Line, check_relative, number_ids, read_lines

LIST = re.compile(r"EPIC_100_(train|validation|test|test_timestamps)\.csv")
COLUMNS = ("narration_id", "video_id", "start_timestamp", "stop_timestamp")
CLASSES = {"verb": 97, "noun": 300}
"""Name of a set of classes (verbs, nouns, …) -> how many classes there are."""

TIME = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d(?:\.\d+)?)", re.ASCII)


def is_epic_list(path: Path) -> bool:
    """Whether a file has the name of a published list."""
    return bool(LIST.fullmatch(path.name)) and path.is_file()


def open_epic(
    target: str, finder: VideoFinder, paths: Sequence[Path], split: str | None
) -> Manifest:
    """The actions of the published lists, one entry each, with its narration as id.

    Classes are named by `EPIC_100_verb_classes.csv` or `EPIC_100_noun_classes.csv` beside the
    lists, else by their numbers. Actions of the test list have no label.

    Args:
        target: one of `CLASSES`.
        finder: of the videos in the set's folder. paths: its lists. split: whose list is read; None
            reads all.

    Raises:
        DataError: a list is broken.
    """
    names = _read_names(paths[0].parent / f"EPIC_100_{target}_classes.csv", target)
    entries = []
    for path, named in choose_annotations(finder.root, paths, split):
        for line, row in _read_rows(path, COLUMNS):
            start, end = (_read_seconds(line, row[name]) for name in COLUMNS[2:])
            if end <= start:
                line.refuse(row["stop_timestamp"], f"a time after {row['start_timestamp']}")
            label = row.get(f"{target}_class")
            labels = () if label is None else (_read_number(line, label, len(names)),)
            video = check_relative(line, row["video_id"])
            found = finder.find(video, path.parent, named, line) or f"{video}.MP4"
            entries.append(VideoEntry(row["narration_id"], found, labels, start, end, split=named))
    ids = number_ids(entry.video_id for entry in entries)
    unique = tuple(replace(entry, video_id=one) for entry, one in zip(entries, ids, strict=True))
    return Manifest(finder.root, names, unique)


def _read_names(path: Path, target: str) -> tuple[str, ...]:
    count = CLASSES[target]
    if not path.is_file():
        return tuple(map(str, range(count)))
    names = []
    for line, row in _read_rows(path, ("id", "key")):
        if _read_number(line, row["id"], count) != len(names):
            line.refuse(row["id"], f"the number {len(names)}")
        names.append(row["key"])
    return tuple(names)


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Line, dict[str, str]]]:
    lines = list(read_lines(path))
    rows = csv.reader((line.text for line in lines), strict=True)
    line = Line(path, 1, "")
    try:
        heading = next(rows, [])
        if missing := [name for name in columns if name not in heading]:
            line.refuse(",".join(heading), f"a column {missing[0]}")
        for line, row in zip(lines[1:], rows, strict=True):
            if len(row) != len(heading):
                line.refuse(line.text, f"{len(heading)} values")
            yield line, dict(zip(heading, row, strict=True))
    except (csv.Error, ValueError):
        line.refuse(line.text, "a row of comma-separated values")


def _read_number(line: Line, text: str, count: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < count):
        line.refuse(text, f"the number of a class, from 0 to {count - 1}")
    return int(text)


def _read_seconds(line: Line, text: str) -> float:
    match = TIME.fullmatch(text)
    if match is None:
        line.refuse(text, "a time such as 00:01:03.37")
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
