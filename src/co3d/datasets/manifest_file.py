"""Read manifests that others wrote: every value is checked, and every complaint names its line."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from co3d.datasets.manifest import FORMAT, VERSION, Manifest, Segment, VideoEntry
from co3d.errors import DataError

MAX_BYTES = 1 << 30
"""The longest public list, Charades frame by frame, has a third of a gigabyte."""

MAX_CLASSES = 100_000
HEADINGS = frozenset({"path", "video", "video path", "video_path", "file", "filename"})
SHOWN = 80


class Line:
    """A line of a text file, which can complain about itself."""

    __slots__ = ("number", "path", "text")

    def __init__(self, path: Path, number: int, text: str) -> None:
        self.path, self.number, self.text = path, number, text

    def refuse(self, got: object, expected: str) -> NoReturn:
        """Raise a DataError that names the file, the line, what it holds and what it should."""
        shown = repr(got)
        shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
        raise DataError(
            f"cannot read {self.path}, line {self.number}: got {shown}, expected {expected}; "
            "correct that line"
        )


def read_lines(path: Path) -> Iterator[Line]:
    """Lines of a UTF-8 text file that are not blank, without their ends.

    Raises:
        DataError: the file is absent, huge, or no text.
    """
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file; check the path")
    number = 0
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"cannot read {path}: got {size} bytes, expected at most {MAX_BYTES}; is it a list "
                "of videos?"
            )
        # Line ends are those of the format, not the rarer ones that names may hold.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield Line(path, number, text.rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"cannot read {path} after line {number}: got byte {error.object[error.start]:#04x}, "
            "expected UTF-8 text; save it as such"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its mode") from error


def read_manifest(path: Path) -> Manifest:
    """Read a manifest: JSONL as `Manifest.save` writes it, or a list of videos and labels.

    A list has a `video path,label` (or, as PySlowFast writes it, `path label`) on each line, with
    class names or indices for labels, and an optional line of headings; its root is the folder
    that it lies in.

    Raises:
        DataError: the file is absent, broken or hostile; the message names the line, what stands
            there and what was expected.
    """
    lines = list(read_lines(path))
    if not lines:
        raise DataError(f"cannot read {path}: it holds no line; expected a manifest")
    if lines[0].text.lstrip().startswith("{"):
        return _read_jsonl(path, lines)
    return _read_list(path, lines)


def check_relative(line: Line, path: str) -> str:
    """A path that stays inside the manifest's root, as it stands.

    Raises:
        DataError: it is empty, absolute, or climbs out.
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        line.refuse(path, "a relative path with / between folders and without ..")
    return path


def number_ids(names: Iterable[str]) -> Iterator[str]:
    """Unique ids: the second "a" becomes "a#2"."""
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for name in names:
        chosen = name
        while chosen in taken:
            counts[name] += 1
            chosen = f"{name}#{counts[name] + 1}"
        taken.add(chosen)
        yield chosen


def _read_jsonl(path: Path, lines: Sequence[Line]) -> Manifest:
    head = lines[0]
    header = _parse(head)
    if header.get("format") != FORMAT:
        head.refuse(header.get("format"), f'"format": "{FORMAT}"')
    if header.get("version") != VERSION:
        head.refuse(header.get("version"), f'"version": {VERSION}')
    root, names = header.get("root", "."), header.get("class_names")
    multi_label = header.get("multi_label", False)
    if not isinstance(root, str) or "\0" in root:
        head.refuse(root, 'the path of a folder as "root"')
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        head.refuse(names, 'a list of strings as "class_names"')
    if len(set(names)) != len(names):
        head.refuse(Counter(names).most_common(1)[0][0], "every class name once")
    if not isinstance(multi_label, bool):
        head.refuse(multi_label, 'true or false as "multi_label"')
    entries = []
    numbers: dict[str, int] = {}
    for line in lines[1:]:
        entry = _read_entry(line, len(names), multi_label)
        if entry.video_id in numbers:
            line.refuse(entry.video_id, f"another id than that of line {numbers[entry.video_id]}")
        numbers[entry.video_id] = line.number
        entries.append(entry)
    return Manifest(path.parent / root, tuple(names), tuple(entries), multi_label)


def _parse(line: Line) -> dict[str, Any]:
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError):
        line.refuse(line.text, "a JSON object on one line")
    if not isinstance(value, dict):
        line.refuse(value, "a JSON object on one line")
    return value


def _read_entry(line: Line, classes: int, multi_label: bool) -> VideoEntry:
    value = _parse(line)
    known = set(VideoEntry.__dataclass_fields__)
    if unknown := sorted(set(value) - known):
        line.refuse(unknown[0], f"only the fields {', '.join(sorted(known))}")
    video_id, path = value.get("video_id"), value.get("path")
    if not isinstance(video_id, str) or not video_id:
        line.refuse(video_id, 'a string as "video_id"')
    if not isinstance(path, str):
        line.refuse(path, 'a string as "path"')
    labels = value.get("labels")
    if not isinstance(labels, list):
        line.refuse(labels, 'a list as "labels"')
    if len(labels) > 1 and not multi_label:
        line.refuse(labels, "one label at most, for the header says multi_label: false")
    start, end = (_read_seconds(line, value, name) for name in ("start_seconds", "end_seconds"))
    if start is not None and end is not None and end <= start:
        line.refuse((start, end), "an end_seconds after start_seconds")
    rate_hz = value.get("rate_hz")
    if rate_hz is not None and not (_is_number(rate_hz) and rate_hz > 0):
        line.refuse(rate_hz, 'a number above 0 as "rate_hz"')
    segments = value.get("segments", [])
    if not isinstance(segments, list):
        line.refuse(segments, 'a list as "segments"')
    return VideoEntry(
        video_id=video_id,
        path=check_relative(line, path),
        labels=tuple(_read_label(line, label, classes) for label in labels),
        start_seconds=start,
        end_seconds=end,
        segments=tuple(_read_segment(line, segment, classes) for segment in segments),
        rate_hz=None if rate_hz is None else float(rate_hz),
    )


def _read_label(line: Line, label: Any, classes: int) -> int:
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < classes:
        line.refuse(label, f"a class index from 0 to {classes - 1}")
    return label


def _read_segment(line: Line, value: Any, classes: int) -> Segment:
    if not isinstance(value, dict) or set(value) != set(Segment.__dataclass_fields__):
        line.refuse(value, "a segment with label, start_seconds and end_seconds")
    start, end = (_read_seconds(line, value, name) for name in ("start_seconds", "end_seconds"))
    if start is None or end is None or end < start:
        line.refuse((start, end), "a segment that ends after its start")
    return Segment(_read_label(line, value["label"], classes), start, end)


def _read_seconds(line: Line, value: dict[str, Any], name: str) -> float | None:
    seconds = value.get(name)
    if seconds is None:
        return None
    if not _is_number(seconds) or seconds < 0:
        line.refuse(seconds, f'a number of seconds from 0 on as "{name}"')
    return float(seconds)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e12 and math.isfinite(value)


def _read_list(path: Path, lines: Sequence[Line]) -> Manifest:
    rows = [(line, *_split_row(line)) for line in lines]
    if rows[0][1].strip().casefold() in HEADINGS:
        rows = rows[1:]
    if all(label.isascii() and label.isdecimal() for _, _, label in rows):
        labels = [_read_index(line, label) for line, _, label in rows]
        names = tuple(str(index) for index in range(max(labels, default=-1) + 1))
    else:
        names = tuple(sorted({label for _, _, label in rows}))
        index_of = {name: index for index, name in enumerate(names)}
        labels = [index_of[label] for _, _, label in rows]
    paths = [check_relative(line, name) for line, name, _ in rows]
    entries = tuple(
        VideoEntry(video_id, name, (label,))
        for video_id, name, label in zip(number_ids(paths), paths, labels, strict=True)
    )
    return Manifest(path.parent, names, entries)


def _read_index(line: Line, label: str) -> int:
    if len(label) > 6 or int(label) >= MAX_CLASSES:
        line.refuse(label, f"a class index below {MAX_CLASSES}")
    return int(label)


def _split_row(line: Line) -> tuple[str, str]:
    """Path and label of a line of a list."""
    if "," in line.text:
        try:
            cells = next(csv.reader(io.StringIO(line.text), strict=True))
        except csv.Error:
            line.refuse(line.text, "a row of CSV: path,label")
    else:
        cells = line.text.rsplit(maxsplit=1)
    if len(cells) != 2 or not cells[1].strip():
        line.refuse(line.text, "a path and a label: path,label")
    return cells[0].strip(), cells[1].strip()
