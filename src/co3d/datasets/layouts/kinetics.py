"""Kinetics-400, -600 and -700: published CSV and JSON lists, with video files or frame folders."""

import csv
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from co3d.datasets.layouts.class_names import ClassIndex, choose_kinetics_classes
from co3d.datasets.layouts.folders import open_folders
from co3d.datasets.layouts.found_videos import FoundVideo, find_videos
from co3d.datasets.layouts.splits import (
    choose_annotations,
    is_split,
    list_annotations,
    name_split,
)
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import Line, check_relative, number_ids, read_lines
from co3d.errors import Co3dError, DataError
from co3d.video.container import open_file

SUFFIXES = frozenset({".csv", ".json"})
PROBED = 5
UNTRIMMED_RATIO = 1.5
HEAD_CHARACTERS = 4096
REPLACEMENTS = re.compile("replacement", re.IGNORECASE)
"""Folders with the Common Visual Data Foundation's complete copies of its corrupt videos."""


@dataclass(frozen=True)
class Row:
    """One line of a published list."""

    line: Line
    youtube_id: str
    label: str
    start_seconds: float
    end_seconds: float
    split: str

    @property
    def full_name(self) -> str:
        """The name of the trimmed video in the official downloads."""
        return f"{self.youtube_id}_{self.start_seconds:06.0f}_{self.end_seconds:06.0f}"


def list_kinetics_annotations(root: Path) -> list[Path]:
    """Annotation files of a Kinetics folder, recognised by their first characters."""
    return [path for path in list_annotations(root, SUFFIXES) if is_kinetics_annotation(path)]


def is_kinetics_annotation(path: Path) -> bool:
    """Whether a file begins like a published list of Kinetics."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(HEAD_CHARACTERS)
    if path.suffix.lower() == ".json":
        return b'"annotations"' in head or b'"subset"' in head
    return b"youtube_id" in head.split(b"\n", 1)[0]


def open_kinetics(
    root: Path, split: str | None, classes: Sequence[str] | None, lists: Sequence[Path]
) -> Manifest:
    """The videos of the published lists, anywhere under `root`.

    An absent video keeps its entry, with the path at which it was expected. Without lists, the
    folders' names are the labels.

    Args:
        root: folder with the videos.
        split: "train", "val" or "test": only its lists are read; None reads all.
        classes: class names; None takes those of the Kinetics that fits.
        lists: of the set, if there are any.

    Raises:
        DataError: a list is broken, or none of its videos exists.
    """
    if not lists:
        names = classes or choose_kinetics_classes(
            root, (video.parents[-1] for video in find_videos(root) if video.parents)
        )
        return open_folders(root, names)
    rows = [
        row if row.split else replace(row, split=named or "")
        for path, named in choose_annotations(root, lists, split)
        for row in _read_rows(path)
    ]
    labels = (row.label for row in rows if row.label)
    names = classes or choose_kinetics_classes(lists[0], labels)
    return Manifest(root, tuple(names), tuple(_list_entries(root, rows, ClassIndex(names))))


def _list_entries(root: Path, rows: Sequence[Row], index: ClassIndex) -> Iterator[VideoEntry]:
    by_name: dict[str, list[FoundVideo]] = defaultdict(list)
    for video in find_videos(root):
        by_name[video.name].append(video)
    matches = [_match(row, by_name) for row in rows]
    if rows and not any(matches):
        raise DataError(
            f"cannot find the videos of {rows[0].line.path} under {root}: got none of {len(rows)}, "
            f"expected names such as {rows[0].full_name}.mp4 or {rows[0].youtube_id}.mp4; check "
            "the path"
        )
    untrimmed = _are_untrimmed(root, rows, matches)
    ids = number_ids(row.full_name for row in rows)
    for video_id, row, match in zip(ids, rows, matches, strict=True):
        labels: tuple[int, ...] = ()
        if row.label:
            label = index.find(row.label)
            if label is None:
                row.line.refuse(row.label, f"one of {len(index.names)} class names")
            labels = (label,)
        path = match.path if match else _expected_path(row)
        cut = untrimmed and match is not None and match.name == row.youtube_id
        yield VideoEntry(
            video_id,
            path,
            labels,
            start_seconds=row.start_seconds if cut else None,
            end_seconds=row.end_seconds if cut else None,
            split=name_split(row.split) if row.split else None,
        )


def _match(row: Row, by_name: Mapping[str, list[FoundVideo]]) -> FoundVideo | None:
    """The video of a row; among several, a replacement, or one under its split and class."""
    short = f"{row.youtube_id}_{row.start_seconds:.0f}_{row.end_seconds:.0f}"
    for name in (row.full_name, short, row.youtube_id):
        if found := by_name.get(name):
            return max(found, key=lambda video: _fit(video, row))
    return None


def _fit(video: FoundVideo, row: Row) -> tuple[bool, bool, bool]:
    label = ClassIndex([row.label])
    return (
        any(REPLACEMENTS.match(name) for name in video.parents),
        any(is_split(name, row.split) for name in video.parents),
        any(label.find(name) is not None for name in video.parents),
    )


def _are_untrimmed(root: Path, rows: Sequence[Row], matches: Sequence[FoundVideo | None]) -> bool:
    """Whether files named by their id alone are untrimmed, from the lengths of the first few."""
    ratios = []
    for row, match in zip(rows, matches, strict=True):
        if match is None or match.is_folder or match.name != row.youtube_id:
            continue
        try:
            with open_file(root / match.path) as container:
                seconds = (container.duration or 0) / 1e6
        except Co3dError:  # `co3d data doctor` reports it
            continue
        ratios.append(seconds / (row.end_seconds - row.start_seconds))
        if len(ratios) == PROBED:
            break
    return bool(ratios) and statistics.median(ratios) > UNTRIMMED_RATIO


def _expected_path(row: Row) -> str:
    folders = [row.split, row.label.replace("/", "_")]
    return "/".join([*(name for name in folders if name), f"{row.full_name}.mp4"])


def _read_rows(path: Path) -> Iterator[Row]:
    if path.suffix.lower() == ".json":
        yield from _read_json(path)
        return
    lines = read_lines(path)
    head = next(lines, None)
    if head is None:
        raise DataError(f"cannot read {path}: it holds no line; expected a list of Kinetics")
    columns = next(csv.reader([head.text]))
    for needed in ("youtube_id", "time_start", "time_end"):
        if needed not in columns:
            head.refuse(head.text, f"a column {needed}")
    for line in lines:
        try:
            cells = next(csv.reader([line.text], strict=True))
        except csv.Error:
            line.refuse(line.text, "a row of CSV")
        if len(cells) != len(columns):
            line.refuse(line.text, f"{len(columns)} columns: {','.join(columns)}")
        values = dict(zip(columns, cells, strict=True))
        times = values["time_start"], values["time_end"]
        split = values.get("split", "")
        yield _make_row(line, values["youtube_id"], values.get("label", ""), times, split)


def _read_json(path: Path) -> Iterator[Row]:
    text = "\n".join(line.text for line in read_lines(path))
    whole = Line(path, 1, "")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        whole.refuse(str(error), "JSON")
    if not isinstance(content, dict):
        whole.refuse(content, "an object with a video for each key")
    for youtube_id, value in content.items():
        annotations: Any = value.get("annotations") if isinstance(value, dict) else None
        if not isinstance(annotations, dict):
            whole.refuse({youtube_id: value}, '"annotations" with "label" and "segment"')
        segment = annotations.get("segment")
        if not isinstance(segment, list) or len(segment) != 2:
            whole.refuse({youtube_id: value}, 'a "segment" of two times')
        label, split = annotations.get("label", ""), value.get("subset", "")
        if not isinstance(label, str) or not isinstance(split, str):
            whole.refuse({youtube_id: value}, "strings for label and subset")
        yield _make_row(whole, youtube_id, label, (segment[0], segment[1]), split)


def _make_row(line: Line, youtube_id: str, label: str, times: tuple[Any, Any], split: str) -> Row:
    try:
        start, end = float(times[0]), float(times[1])
    except (TypeError, ValueError):
        line.refuse(times, "two times in seconds")
    if not 0 <= start < end < 1e6:
        line.refuse(times, "a start from 0 on and a later end, in seconds")
    if "/" in youtube_id or "/" in split:
        line.refuse(youtube_id + split, "an id and a split without /")
    row = Row(line, youtube_id, label.strip(), start, end, split)
    check_relative(line, _expected_path(row))
    return row
