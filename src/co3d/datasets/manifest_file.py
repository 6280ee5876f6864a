"""Read manifests that others wrote: every value is checked, and errors name the line."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from co3d.datasets.manifest import FORMAT, VERSION, Manifest, Segment, VideoEntry
from co3d.datasets.text_lines import Line, check_relative, is_too_long, read_lines
from co3d.errors import DataError


def is_manifest(path: Path) -> bool:
    """Whether a file begins like those that `Manifest.save` writes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.readline(4096).lstrip(b"\xef\xbb\xbf \t")
    return head.startswith(b"{") and b'"format"' in head and FORMAT.encode() in head


def read_manifest(path: Path) -> Manifest:
    """Read a manifest: JSONL as `Manifest.save` writes it.

    Raises:
        DataError: the file is absent, broken or hostile; the message names the line, its content
            and what was expected.
    """
    lines = list(read_lines(path))
    if not lines:
        raise DataError(f"cannot read {path}: it holds no line; expected a manifest")
    return _read_jsonl(path, lines)


def _read_jsonl(path: Path, lines: Sequence[Line]) -> Manifest:
    head = lines[0]
    header = _parse(head)
    if header.get("format") != FORMAT:
        head.refuse(header.get("format"), f'"format": "{FORMAT}"')
    if header.get("version") != VERSION:
        head.refuse(header.get("version"), f'"version": {VERSION}')
    root, names = header.get("root", "."), header.get("class_names")
    multi_label = header.get("multi_label", False)
    if not isinstance(root, str) or "\0" in root or is_too_long(root):
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
    for name in ("split", "source"):
        text = value.get(name)
        if text is not None and not (isinstance(text, str) and text):
            line.refuse(text, f'the name of a {name} as "{name}"')
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
        split=value.get("split"),
        source=value.get("source"),
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
