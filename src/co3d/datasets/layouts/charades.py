"""Charades: the official CSVs with videos or frame folders, or PySlowFast's lists of frames."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from co3d.datasets.layouts.found_videos import FoundVideo, find_videos
from co3d.datasets.layouts.splits import choose_annotations, list_annotations
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.text_lines import Line, check_relative, number_ids, read_lines
from co3d.errors import DataError
from co3d.models.labels import read_labels

FRAME_RATE_HZ = 24.0
"""The rate at which the official frames were extracted."""

FRAME_FOLDER = "Charades_v1_rgb"
CLASSES_FILE = "Charades_v1_classes.txt"
FRAME_LIST_COLUMNS = ("original_vido_id", "video_id", "frame_id", "path", "labels")
SUFFIXES = frozenset({".csv"})
VIDEO_COLUMNS = frozenset({"id", "actions"})


def list_charades_annotations(root: Path) -> list[Path]:
    """Annotation files of a Charades folder, recognised by their headings."""
    return [path for path in list_annotations(root, SUFFIXES) if is_charades_annotation(path)]


def is_charades_annotation(path: Path) -> bool:
    """Whether a file has the headings of an official CSV or of a list of frames."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        heading = file.readline(4096).decode("utf-8", "replace").strip().lstrip("\ufeff")
    return heading.startswith(FRAME_LIST_COLUMNS[0]) or set(heading.split(",")) >= VIDEO_COLUMNS


def open_charades(finder: VideoFinder, split: str | None, lists: Sequence[Path]) -> Manifest:
    """The videos of the lists, multi-label, with the times of their actions.

    Absent videos keep their entries. Lists of frames label frames; a run of frames with a label
    becomes a segment. Classes are those of `Charades_v1_classes.txt` if it exists, else the
    standard 157.

    Args:
        finder: of the videos or frames, with `Charades_v1_classes.txt` beside the lists.
        split: "train", "val" or "test" (the official sets have "train" and "test"): only its lists
            are read; None reads all.
        lists: of the set.

    Raises:
        DataError: a list is broken, or none of its videos exists.
    """
    root = finder.root
    names = _read_class_names(finder.lists_root)
    entries = [
        replace(entry, split=named)
        for path, named in choose_annotations(root, lists, split)
        for entry in _read_list(root, path, len(names))
    ]
    ids = number_ids(entry.video_id for entry in entries)
    unique = (replace(entry, video_id=one) for entry, one in zip(entries, ids, strict=True))
    return _refuse_absent(lists[0], Manifest(root, names, tuple(unique), multi_label=True))


def _read_list(root: Path, path: Path, classes: int) -> Iterator[VideoEntry]:
    lines = read_lines(path)
    if next(lines).text.startswith(FRAME_LIST_COLUMNS[0]):
        return _read_frame_list(root, lines, classes)
    return _read_official(root, path, classes)


def _read_class_names(root: Path) -> tuple[str, ...]:
    path = next(
        (
            root / folder / CLASSES_FILE
            for folder in ("", "annotations")
            if (root / folder / CLASSES_FILE).is_file()
        ),
        None,
    )
    if path is None:
        return read_labels("charades157")
    names = []
    for line in read_lines(path):
        code, _, name = line.text.strip().partition(" ")
        if code != f"c{len(names):03d}" or not name:
            line.refuse(line.text, f"c{len(names):03d} and the name of a class")
        names.append(name)
    return tuple(names)


def _read_official(root: Path, path: Path, classes: int) -> Iterator[VideoEntry]:
    # In these lists, a quoted script may span several lines.
    reader = csv.DictReader((line.text + "\n" for line in read_lines(path)), strict=True)
    rows: list[tuple[Line, str, str]] = []
    try:
        for row in reader:
            line = Line(path, reader.line_num, "")
            video_id, actions = row.get("id"), row.get("actions")
            if not video_id or actions is None or "/" in video_id:
                line.refuse(video_id, "an id and actions")
            rows.append((line, video_id, actions))
    except csv.Error as error:
        Line(path, reader.line_num, "").refuse(str(error), "rows of CSV")
    found: dict[str, FoundVideo] = {}
    for video in find_videos(root):
        if video.name not in found or found[video.name].is_folder:  # prefer a file to its frames
            found[video.name] = video
    for line, video_id, actions in rows:
        pieces = [_read_action(line, text, classes) for text in actions.split(";") if text.strip()]
        video = found.get(video_id)
        yield VideoEntry(
            video_id,
            video.path if video else check_relative(line, f"{video_id}.mp4"),
            tuple(sorted({segment.label for segment in pieces})),
            # An interval that ends before it starts names an action but not its time.
            segments=tuple(s for s in pieces if s.start_seconds < s.end_seconds),
            rate_hz=FRAME_RATE_HZ if video and video.is_folder else None,
        )


def _read_action(line: Line, text: str, classes: int) -> Segment:
    words = text.split()
    try:
        label, start, end = int(words[0][1:]), float(words[1]), float(words[2])
    except (IndexError, ValueError):
        line.refuse(text, 'an action such as "c092 11.90 21.20"')
    valid = words[0][0] == "c" and 0 <= label < classes and 0 <= start < 1e6 and 0 <= end < 1e6
    if len(words) != 3 or not valid:
        line.refuse(text, f"an action from c000 to c{classes - 1:03d} with its start and end")
    return Segment(label, start, end)


def _read_frame_list(root: Path, lines: Iterator[Line], classes: int) -> Iterator[VideoEntry]:
    prefix: str | None = None
    for video_id, frames in groupby(map(_split_frame, lines), key=lambda frame: frame[1]):
        line, _, path, _ = first = next(frames)
        if prefix is None:
            prefix = _find_prefix(root, path)
        labels = [
            _read_frame_labels(line, labels, classes) for line, _, _, labels in (first, *frames)
        ]
        yield VideoEntry(
            video_id,
            check_relative(line, (PurePosixPath(prefix) / path).parent.as_posix()),
            tuple(sorted(set().union(*labels))),
            segments=tuple(_find_runs(labels)),
            rate_hz=FRAME_RATE_HZ,
        )


def _split_frame(line: Line) -> tuple[Line, str, str, str]:
    words = line.text.split()
    if len(words) != len(FRAME_LIST_COLUMNS):
        line.refuse(line.text, " ".join(FRAME_LIST_COLUMNS))
    return line, words[0], check_relative(line, words[3]), words[4]


def _read_frame_labels(line: Line, text: str, classes: int) -> frozenset[int]:
    labels = text.replace('"', "")
    try:
        values = frozenset(int(label) for label in labels.split(",")) if labels else frozenset()
    except ValueError:
        line.refuse(text, 'class indices such as "92,147" or ""')
    if not all(0 <= label < classes for label in values):
        line.refuse(text, f"class indices from 0 to {classes - 1}")
    return values


def _find_runs(labels: Sequence[frozenset[int]]) -> Iterator[Segment]:
    """Runs of frames with the same label, by their first frame."""
    starts: dict[int, int] = {}
    runs: list[tuple[int, int, int]] = []
    for number, present in enumerate((*labels, frozenset[int]())):
        for label in present - starts.keys():
            starts[label] = number
        for label in starts.keys() - present:
            runs.append((starts.pop(label), number, label))
    for start, end, label in sorted(runs):
        yield Segment(label, start / FRAME_RATE_HZ, end / FRAME_RATE_HZ)


def _find_prefix(root: Path, path: str) -> str:
    """The folder under `root` that a list's paths are relative to."""
    for folder in ("", FRAME_FOLDER, *(item.name for item in sorted(root.iterdir()))):
        if (root / folder / path).is_file():
            return folder
    return FRAME_FOLDER


def _refuse_absent(path: Path, manifest: Manifest) -> Manifest:
    if not any(manifest.resolve(entry).exists() for entry in manifest.entries):
        raise DataError(
            f"cannot find the videos of {path} under {manifest.root}: got none of "
            f"{len(manifest.entries)}; check the path"
        )
    return manifest
