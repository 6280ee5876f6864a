"""Parse the rows of a list of videos, with any order of columns and any separator.

A list has one video a line: a path and a label (`path,label`, or `path label` as PySlowFast writes
it), a path and several class indices, or a folder of frames, their number and a class index
(mmaction2, TSN). With headings (`file_name,label`), columns are found by name; JSON objects, one a
line or in a list, carry the names themselves.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from co3d.datasets.layouts.found_videos import VIDEO_SUFFIXES
from co3d.datasets.layouts.json_files import parse_json
from co3d.datasets.text_lines import Line, read_lines
from co3d.errors import DataError

PATH_HEADINGS = (
    *("path", "video path", "file path", "filepath", "file name", "filename", "file"),
    *("video file", "video name", "vid name", "video", "clip", "name", "video id", "id"),
)
"""Headings of columns with paths, the preferred one first, in lower case with spaces."""

NAME_HEADINGS = frozenset(
    {"label", "class", "class name", "label name", "category", "action", "activity", "target"}
)
SEVERAL_HEADINGS = frozenset({"labels", "tags", "classes", "actions"})
INDEX_HEADINGS = frozenset(
    {f"{what} {number}" for what in ("class", "label") for number in ("id", "index", "idx")}
)
SOURCE_HEADINGS = frozenset({"group", "group id", "source video", "original video"})
SPLIT_HEADINGS = frozenset({"split", "subset", "set", "partition"})
START, END = "start seconds", "end seconds"
TIMES = re.compile(r"\b(start|stop|end|begin|onset|offset)\b")
INTEGER = re.compile(r"-?\d+(\.0+)?", re.ASCII)
JSON_LIST = re.compile(r"\s*\[\s*(\{|$)")
EXPECTED = "a path and a label: path,label"


@dataclass(frozen=True)
class Row:
    """A video of a list.

    Attributes:
        line: of the list.
        path: as written: of a file, of a folder of frames, or a name without suffix.
        labels: names or indices as written; empty if the label is unknown.
        split: as written; None if the list has no such column.
        source: name of the video that it was cut from, if a column names it.
        index: of the class that the label names, if a column beside the names has it.
        start_seconds, end_seconds: of the part of the file to use.
        frames: number of pictures in the folder of frames, as the list says.
    """

    line: Line
    path: str
    labels: tuple[str, ...]
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    frames: int | None = None
    source: str | None = None
    index: str | None = None


def read_rows(path: Path) -> list[Row]:
    """Read a list of videos.

    Raises:
        DataError: a line is malformed; the message quotes it.
    """
    lines = list(read_lines(path))
    if not lines:
        raise DataError(f"cannot read {path}: it holds no line; expected a list of videos")
    if JSON_LIST.match(lines[0].text):
        return _read_objects(_parse_list(path, lines))
    if lines[0].text.lstrip().startswith("{"):
        return _read_objects([(line, _parse(line)) for line in lines])
    comma = [split for split in (_split_tabs, _split_commas) if split(lines[0])[1:]]
    readings: list[list[Row]] = []
    refused: list[DataError] = []
    for split in (*comma, _split_spaces):
        try:
            readings.append(_read_cells([(line, split(line)) for line in lines]))
        except DataError as error:
            refused.append(error)
    if not readings:
        raise refused[0]
    return max(readings, key=lambda rows: sum(looks_like_video(row.path) for row in rows))


def looks_like_video(text: str) -> bool:
    """Whether a cell ends like the name of a video file."""
    return PurePosixPath(text).suffix.lower() in VIDEO_SUFFIXES


def _split_commas(line: Line) -> list[str]:
    try:
        cells = next(csv.reader(io.StringIO(line.text), strict=True))
    except csv.Error:
        line.refuse(line.text, "a row of CSV: path,label")
    return [cell.strip() for cell in cells]


def _split_tabs(line: Line) -> list[str]:
    return [cell.strip() for cell in line.text.split("\t")]


def _split_spaces(line: Line) -> list[str]:
    """Split a line at spaces, where the path may contain some: it ends before the class indices."""
    words = line.text.split()
    if len(words) > 1 and looks_like_video(words[-1]) and not looks_like_video(words[-2]):
        return [words[0], line.text.split(maxsplit=1)[1].strip()]  # the label comes first
    count = 0
    while count < len(words) - 1 and INTEGER.fullmatch(words[-1 - count]):
        count += 1
    return line.text.strip().rsplit(maxsplit=max(count, 1))


def _read_cells(table: Sequence[tuple[Line, list[str]]]) -> list[Row]:
    headings = [_normalise(cell) for cell in table[0][1]]
    known = {*PATH_HEADINGS, *NAME_HEADINGS, *SEVERAL_HEADINGS, *INDEX_HEADINGS}
    if known & set(headings) and not any(map(looks_like_video, table[0][1])):
        read = _plan_columns(table[0][0], headings)
        rows = []
        for line, cells in table[1:]:
            if len(cells) != len(headings):
                line.refuse(line.text, f"{len(headings)} columns: {','.join(table[0][1])}")
            rows.append(read(line, dict(zip(headings, cells, strict=True))))
        return rows
    return _read_bare(table)


def _parse(line: Line) -> Any:
    try:
        return json.loads(line.text)
    except (ValueError, RecursionError):
        line.refuse(line.text, "a JSON object on one line")


def _parse_list(path: Path, lines: Sequence[Line]) -> list[tuple[Line, Any]]:
    """The items of a JSON list, which may be spread over any number of lines."""
    whole = Line(path, 1, lines[0].text)
    return [(whole, item) for item in parse_json(path, lines, list)]


def _read_objects(objects: Sequence[tuple[Line, Any]]) -> list[Row]:
    """JSON objects, such as the lines of Hugging Face's metadata.jsonl."""
    rows = []
    for line, value in objects:
        if not isinstance(value, dict):
            line.refuse(value, "a JSON object for each video")
        values = {_normalise(key): _write(line, item) for key, item in value.items()}
        rows.append(_plan_columns(line, list(values))(line, values))
    return rows


def _write(line: Line, value: Any) -> str:
    if isinstance(value, dict):
        line.refuse(value, "strings, numbers or lists as values")
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value)


def _normalise(heading: str) -> str:
    return " ".join(heading.replace("_", " ").casefold().split())


def _plan_columns(head: Line, headings: Sequence[str]) -> Callable[[Line, dict[str, str]], Row]:
    """Make the function that reads rows with these headings.

    Raises:
        DataError: no column holds paths or labels, several hold labels, or some hold times that
            are not in seconds.
    """
    path = next((name for name in PATH_HEADINGS if name in headings), None)
    found = [name for name in headings if name in NAME_HEADINGS | SEVERAL_HEADINGS]
    indices = [name for name in headings if name in INDEX_HEADINGS]
    found, indices = (found, indices) if found else (indices, [])
    if path is None or len(found) != 1:
        head.refuse(head.text, "headings with one column of paths and one of labels: path,label")
    times = [name for name in headings if TIMES.search(name) and name not in (START, END)]
    if times:
        head.refuse(times[0], "times as start_seconds and end_seconds, or none")
    label, split = found[0], next((name for name in headings if name in SPLIT_HEADINGS), None)
    source = next((name for name in headings if name in SOURCE_HEADINGS), None)

    def read(line: Line, values: dict[str, str]) -> Row:
        if not values[path]:
            line.refuse(line.text, f"a path in the column {path!r}")
        several = label in SEVERAL_HEADINGS
        labels = re.split(r"[|;,]", values[label]) if several else [values[label]]
        return Row(
            line,
            values[path],
            tuple(text.strip() for text in labels if text.strip()),
            values[split] or None if split else None,
            _read_seconds(line, values.get(START, "")),
            _read_seconds(line, values.get(END, "")),
            source=values[source] or None if source else None,
            index=values[indices[0]] if len(indices) == 1 else None,
        )

    return read


def _read_seconds(line: Line, text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        line.refuse(text, "a number of seconds from 0 on")
    return seconds


def _find_paths(table: Sequence[Sequence[str]]) -> int:
    """The column with the most names of video files, or of paths with folders; else the first."""

    def score(column: int) -> tuple[int, int]:
        cells = [cells[column] for cells in table]
        return sum(map(looks_like_video, cells)), sum("/" in cell for cell in cells)

    return max(range(min(map(len, table))), key=score)


def _read_bare(table: Sequence[tuple[Line, list[str]]]) -> list[Row]:
    """Rows without headings."""
    for line, cells in table:
        if len(cells) < 2 or not all(cells):
            line.refuse(line.text, EXPECTED)
    column = _find_paths([cells for _, cells in table])
    first, *others = (looks_like_video(cells[column]) for _, cells in table)
    if others and all(others) and not first:
        head = table[0][0]
        head.refuse(head.text, "headings such as path,label, or the path of a video")
    rows = []
    for line, cells in table:
        path, rest = cells[column], [*cells[:column], *cells[column + 1 :]]
        if len(rest) > 1 and not all(map(INTEGER.fullmatch, rest)):
            line.refuse(line.text, EXPECTED)
        frames = None
        if len(rest) > 1 and not looks_like_video(path):
            frames = int(float(rest.pop(0)))
            if frames < 1:
                line.refuse(line.text, "a folder of frames, their number and a class index")
        rows.append(Row(line, path, tuple(rest), frames=frames))
    return rows
