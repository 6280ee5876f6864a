"""Lists of videos and labels, in the folder of the set or in a folder of their own."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from co3d.datasets.layouts.class_names import ClassIndex, merge_spellings, normalise
from co3d.datasets.layouts.list_rows import INTEGER, Row, looks_like_video, read_rows
from co3d.datasets.layouts.splits import find_folder_split, name_split
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import check_relative, number_ids
from co3d.errors import Co3dError, DataError
from co3d.printable import list_first
from co3d.video.container import open_file
from co3d.video.folder import list_pictures

MAX_CLASSES = 100_000
PROBED = 20
SLACK_FRAMES, SLACK_SHARE = 2, 0.05
NO_LABEL = -1
"""The class index of a video whose label is unknown."""


def find_lists(finder: VideoFinder) -> list[Path]:
    """The text files under a folder that are lists of its videos.

    A file counts as a list if it can be parsed, and at least half of its first videos exist or all
    are named like video files, since a whole split may be absent.
    """
    return [path for path in finder.texts if _is_list(finder, path)]


def open_lists(finder: VideoFinder, paths: Sequence[Path]) -> Manifest:
    """The videos of one list, or of those of several splits.

    Paths are absolute, or relative to the list's folder or another folder of the set; a name
    without suffix stands for the video of that name. Absent videos keep their entries. The split of
    a video comes from its row, its list, the list's folder, or its own folder. Labels are names, or
    indices from 0 on, for which the classes are called "0", "1" …; -1 means that the label is
    unknown.

    Args:
        finder: of the videos in the set's folder.
        paths: the lists.

    Raises:
        DataError: a line is malformed, or matches several videos.
    """
    rows: list[Row] = []
    places: list[Path] = []
    splits: list[str | None] = []
    for path, listed in _name_splits(finder, paths):
        own = _read_once(finder, path)
        named = [name_split(row.split) if row.split else listed for row in own]
        own_places = [
            _locate(finder, row, path.parent, split) for row, split in zip(own, named, strict=True)
        ]
        if not any(named):
            named = _read_folder_splits(own)
        _check_distinct(own, own_places)
        rows += _drop_frame_counts(own, own_places)
        places += own_places
        splits += named
    names, labels = _number_labels(rows)
    root, relative = _make_relative(finder.root, places)
    entries = tuple(
        VideoEntry(
            video_id,
            path,
            label,
            start_seconds=row.start_seconds,
            end_seconds=row.end_seconds,
            split=split,
            source=row.source,
        )
        for video_id, path, label, split, row in zip(
            number_ids(relative), relative, labels, splits, rows, strict=True
        )
    )
    return Manifest(root, names, entries, any(len(label) > 1 for label in labels))


def _name_splits(finder: VideoFinder, paths: Sequence[Path]) -> list[tuple[Path, str | None]]:
    """Lists with the splits in their names or folders; of several lists, one for each split."""
    named = [(path, finder.find_list_split(path)) for path in paths]
    splits = {split for _, split in named}
    if len(paths) > 1 and (None in splits or len(splits) < len(paths)):
        raise DataError(
            f"cannot tell which list of {finder.root} is meant: got {list_first(paths)}, expected "
            "one, or one of each split; give the path of the list"
        )
    return named


def _read_once(finder: VideoFinder, path: Path) -> list[Row]:
    rows = finder.list_rows.get(path)
    if rows is None:
        rows = finder.list_rows[path] = read_rows(path)
    return rows


def _is_list(finder: VideoFinder, path: Path) -> bool:
    try:
        rows = _read_once(finder, path)[:PROBED]
    except DataError:
        return False
    if rows and all(looks_like_video(row.path) for row in rows):
        return True
    split = finder.find_list_split(path)
    found = sum(_is_meant(finder, row, path.parent, split) for row in rows)
    return bool(rows) and 2 * found >= len(rows)


def _is_meant(finder: VideoFinder, row: Row, beside: Path, split: str | None) -> bool:
    """Whether a row matches an existing video, or several, which a later check reports."""
    try:
        return _find(finder, row, beside, split) is not None
    except DataError:
        return True


def _find(finder: VideoFinder, row: Row, beside: Path, split: str | None) -> Path | None:
    if PurePosixPath(row.path).is_absolute():
        check_relative(row.line, row.path.lstrip("/"))
        if Path(row.path).exists():
            return Path(row.path)
    else:
        check_relative(row.line, row.path)
    is_folder = row.frames is not None
    found = finder.find(row.path, beside, split, row.line, is_folder=is_folder)
    return None if found is None else finder.root / found


def _locate(finder: VideoFinder, row: Row, beside: Path, split: str | None) -> Path:
    """The path of a row's video, or the path where the list expects it."""
    return (
        _find(finder, row, beside, split) or (finder.root if finder.is_apart else beside) / row.path
    )


def _check_distinct(rows: Sequence[Row], places: Sequence[Path]) -> None:
    """Refuse two paths of another machine that match the same video, since one must be absent."""
    path_of: dict[Path, PurePosixPath] = {}
    for row, place in zip(rows, places, strict=True):
        path = PurePosixPath(row.path)
        if path.is_absolute() and (known := path_of.setdefault(place, path)) != path:
            row.line.refuse(row.path, f"another video than {place}, which {known} means")


def _read_folder_splits(rows: Sequence[Row]) -> list[str | None]:
    """The splits that all paths of a list begin with, as in train/a.mp4; None if one does not."""
    splits: list[str | None] = []
    for row in rows:
        folders = [name for name in PurePosixPath(row.path).parts[:-1] if name not in row.labels]
        splits.append(find_folder_split(folders))
    return splits if all(splits) else [None] * len(rows)


def _drop_frame_counts(rows: Sequence[Row], places: Sequence[Path]) -> Iterator[Row]:
    """The rows without the numbers of frames between paths and labels.

    Those of folders are compared with the existing pictures. Between a video file and its class, a
    number counts as one of frames if the existing files have as many.
    """
    are_counts = all(len(row.labels) == 2 and looks_like_video(row.path) for row in rows)
    are_counts = are_counts and _have_frames(rows, places)
    for row, place in zip(rows, places, strict=True):
        if row.frames is not None and place.is_dir():
            there = len(list_pictures(place))
            if abs(there - row.frames) > max(SLACK_FRAMES, SLACK_SHARE * there):
                row.line.refuse(row.frames, f"the number of pictures in {place}, {there}")
        if not are_counts:
            yield row
        else:
            yield Row(row.line, row.path, row.labels[1:], row.split)


def _have_frames(rows: Sequence[Row], places: Sequence[Path]) -> bool:
    counts = []
    for row, place in zip(rows, places, strict=True):
        if len(counts) == PROBED:
            break
        try:
            with open_file(place) as container:
                counts.append((container.streams.video[0].frames, row.labels[0]))
        except (Co3dError, OSError, IndexError):
            continue
    return bool(counts) and all(str(frames) == label for frames, label in counts)


def _number_labels(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """Class names, and the indices of each row's classes."""
    labelled = [row for row in rows if row.labels]
    are_indices = [all(map(INTEGER.fullmatch, row.labels)) for row in labelled]
    if not all(are_indices):
        for row, is_index in zip(labelled, are_indices, strict=True):
            if is_index:  # a numeric name would look like an index
                row.line.refuse(
                    ",".join(row.labels),
                    "a class name, as in other lines, or indices in all",
                )
        names = _order_names(labelled)
        index = ClassIndex(names)
        labels = [tuple(sorted(set(map(index.require, row.labels)))) for row in rows]
        return names, labels
    labels = [_read_indices(row) for row in rows]
    if len(rows) > 1 and len(labels[0]) > 1 and len(set(labels)) == 1:
        rows[0].line.refuse(
            " ".join(rows[0].labels),
            "class indices, and not the same ones in all lines, as of a column for each class",
        )
    known = {index for label in labels for index in label}
    count = max(known, default=-1) + 1
    if count > 3 and known == set(range(1, count)):
        first = next(row for row, label in zip(rows, labels, strict=True) if label)
        first.line.refuse(
            ",".join(first.labels),
            f"class indices from 0 on, and none of the list is 0: they go from 1 to {count - 1}",
        )
    return tuple(map(str, range(count))), labels


def _order_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Class names in the order of the indices beside them, if those have no gaps, or by themselves.

    Gaps are left where a list has a part of the classes of a larger set.
    """
    by_name = merge_spellings(label for row in rows for label in row.labels)
    if not all(len(row.labels) == 1 and row.index for row in rows):
        return by_name
    name_of: dict[int, str] = {}
    index_of: dict[str, int] = {}
    for row in rows:
        index, label = row.index or "", row.labels[0]
        if not INTEGER.fullmatch(index) or len(index) > 8 or not 0 <= float(index) < MAX_CLASSES:
            row.line.refuse(index, f"a class index below {MAX_CLASSES}")
        number = int(float(index))
        known = (name_of.setdefault(number, label), index_of.setdefault(normalise(label), number))
        if (normalise(known[0]), known[1]) != (normalise(label), number):
            row.line.refuse(f"{label}, {index}", "one index for each class name, and one name")
    numbers = sorted(name_of)
    has_gaps = numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))
    return by_name if has_gaps else tuple(name_of[number] for number in numbers)


def _read_indices(row: Row) -> tuple[int, ...]:
    indices = set()
    for text in row.labels:
        if len(text.partition(".")[0]) > 6 or not NO_LABEL <= int(float(text)) < MAX_CLASSES:
            row.line.refuse(
                text, f"a class index below {MAX_CLASSES}, or {NO_LABEL} for an unknown label"
            )
        indices.add(int(float(text)))
    if len(indices) < len(row.labels):
        row.line.refuse(
            " ".join(row.labels), "each class index once, and no column of 0 and 1 for each class"
        )
    if NO_LABEL in indices and len(indices) > 1:
        row.line.refuse(",".join(row.labels), f"class indices without {NO_LABEL} among them")
    return tuple(sorted(indices - {NO_LABEL}))


def _make_relative(root: Path, places: Sequence[Path]) -> tuple[Path, list[str]]:
    """A common parent folder, the set's own if possible, and the paths relative to it."""
    if all(place.is_relative_to(root) for place in places):
        return root, [place.relative_to(root).as_posix() for place in places]
    whole = [place.absolute() for place in places]
    base = root.absolute()
    if all(place.is_relative_to(base) for place in whole):
        return root, [place.relative_to(base).as_posix() for place in whole]
    base = Path(os.path.commonpath([place.parent for place in whole]))
    return base, [place.relative_to(base).as_posix() for place in whole]
