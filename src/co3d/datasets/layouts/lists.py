"""Lists of videos and labels, in the folder of the set or in one of its own."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from co3d.datasets.layouts.list_rows import INTEGER, Row, looks_like_video, read_rows
from co3d.datasets.layouts.shelf import Shelf
from co3d.datasets.layouts.splits import find_folder_split, name_split
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


def find_lists(shelf: Shelf) -> list[Path]:
    """The text files under a folder that are lists of its videos.

    A list can be read, and half of its first videos or more are there, or all are called like video
    files: a split may be absent as a whole.
    """
    return [path for path in shelf.texts if _is_list(shelf, path)]


def open_lists(shelf: Shelf, paths: Sequence[Path]) -> Manifest:
    """The videos of one list, or of those of several splits.

    Paths are absolute, or start from the list's folder or another folder of the set; a name without
    suffix means the video of that name. Videos that are not there keep their entries. The split of
    a video is that of its row, its list, the list's folder, or its own folder. Labels are names, or
    indices from 0 on, for which the classes are called "0", "1" ...; -1 means that the label is
    unknown.

    Args:
        shelf: the folder of the set.
        paths: the lists.

    Raises:
        DataError: a line is none of a list, or means several videos.
    """
    rows: list[Row] = []
    places: list[Path] = []
    splits: list[str | None] = []
    for path, listed in _name_splits(shelf, paths):
        own = _read_once(shelf, path)
        named = [name_split(row.split) if row.split else listed for row in own]
        own_places = [
            _locate(shelf, row, path.parent, split) for row, split in zip(own, named, strict=True)
        ]
        if not any(named):
            named = _read_folder_splits(own)
        rows += _drop_frame_counts(own, own_places)
        places += own_places
        splits += named
    names, labels = _number_labels(rows)
    root, relative = _make_relative(shelf.root, places)
    entries = tuple(
        VideoEntry(
            video_id,
            path,
            label,
            start_seconds=row.start_seconds,
            end_seconds=row.end_seconds,
            split=split,
        )
        for video_id, path, label, split, row in zip(
            number_ids(relative), relative, labels, splits, rows, strict=True
        )
    )
    return Manifest(root, names, entries, any(len(label) > 1 for label in labels))


def _name_splits(shelf: Shelf, paths: Sequence[Path]) -> list[tuple[Path, str | None]]:
    """Lists with the splits that their names or folders speak of: of several, one of each."""
    named = [(path, shelf.find_list_split(path)) for path in paths]
    splits = {split for _, split in named}
    if len(paths) > 1 and (None in splits or len(splits) < len(paths)):
        raise DataError(
            f"cannot tell which list of {shelf.root} is meant: got {list_first(paths)}, expected "
            "one, or one of each split; give the path of the list"
        )
    return named


def _read_once(shelf: Shelf, path: Path) -> list[Row]:
    rows = shelf.list_rows.get(path)
    if rows is None:
        rows = shelf.list_rows[path] = read_rows(path)
    return rows


def _is_list(shelf: Shelf, path: Path) -> bool:
    try:
        rows = _read_once(shelf, path)[:PROBED]
    except DataError:
        return False
    if rows and all(looks_like_video(row.path) for row in rows):
        return True
    split = shelf.find_list_split(path)
    found = sum(_is_meant(shelf, row, path.parent, split) for row in rows)
    return bool(rows) and 2 * found >= len(rows)


def _is_meant(shelf: Shelf, row: Row, beside: Path, split: str | None) -> bool:
    """Whether a row means a video that is there, or several alike: then the list is to complain."""
    try:
        return _find(shelf, row, beside, split) is not None
    except DataError:
        return True


def _find(shelf: Shelf, row: Row, beside: Path, split: str | None) -> Path | None:
    if PurePosixPath(row.path).is_absolute():
        check_relative(row.line, row.path.lstrip("/"))
        if Path(row.path).exists():
            return Path(row.path)
    else:
        check_relative(row.line, row.path)
    is_folder = row.frames is not None
    found = shelf.find(row.path, beside, split, row.line, is_folder=is_folder)
    return None if found is None else shelf.root / found


def _locate(shelf: Shelf, row: Row, beside: Path, split: str | None) -> Path:
    """Where the video of a row lies, or where the list says that it should."""
    return _find(shelf, row, beside, split) or beside / row.path


def _read_folder_splits(rows: Sequence[Row]) -> list[str | None]:
    """The splits that all paths of a list name, as in train/a.mp4; none where any names none."""
    splits: list[str | None] = []
    for row in rows:
        folders = [name for name in PurePosixPath(row.path).parts[:-1] if name not in row.labels]
        splits.append(find_folder_split(folders))
    return splits if all(splits) else [None] * len(rows)


def _drop_frame_counts(rows: Sequence[Row], places: Sequence[Path]) -> Iterator[Row]:
    """The rows without the numbers of frames that stand between paths and labels.

    Those of folders are compared with the pictures that are there. Between a video file and its
    class, a number is one of frames where the files that are there have as many.
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
            if is_index:  # a name that is a number cannot be told from an index
                row.line.refuse(
                    ",".join(row.labels),
                    "a class name, as in other lines, or indices in all",
                )
        names = tuple(sorted({label for row in labelled for label in row.labels}))
        index_of = {name: index for index, name in enumerate(names)}
        return names, [tuple(sorted({index_of[label] for label in row.labels})) for row in rows]
    labels = [_read_indices(row) for row in rows]
    known = {index for label in labels for index in label}
    count = max(known, default=-1) + 1
    if count > 3 and known == set(range(1, count)):
        first = next(row for row, label in zip(rows, labels, strict=True) if label)
        first.line.refuse(
            ",".join(first.labels),
            f"class indices from 0 on, and none of the list is 0: they go from 1 to {count - 1}",
        )
    return tuple(map(str, range(count))), labels


def _read_indices(row: Row) -> tuple[int, ...]:
    indices = set()
    for text in row.labels:
        if len(text.partition(".")[0]) > 6 or not NO_LABEL <= int(float(text)) < MAX_CLASSES:
            row.line.refuse(
                text, f"a class index below {MAX_CLASSES}, or {NO_LABEL} for an unknown label"
            )
        indices.add(int(float(text)))
    if NO_LABEL in indices and len(indices) > 1:
        row.line.refuse(",".join(row.labels), f"class indices without {NO_LABEL} among them")
    return tuple(sorted(indices - {NO_LABEL}))


def _make_relative(root: Path, places: Sequence[Path]) -> tuple[Path, list[str]]:
    """A folder that holds all places, the set's own if it does, and their paths from there."""
    if all(place.is_relative_to(root) for place in places):
        return root, [place.relative_to(root).as_posix() for place in places]
    whole = [place.absolute() for place in places]
    base = root.absolute()
    if all(place.is_relative_to(base) for place in whole):
        return root, [place.relative_to(base).as_posix() for place in whole]
    base = Path(os.path.commonpath([place.parent for place in whole]))
    return base, [place.relative_to(base).as_posix() for place in whole]
