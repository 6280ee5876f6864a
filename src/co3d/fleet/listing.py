"""List the videos of an archive from files, folders and lists."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from co3d.datasets.layouts.found_videos import TEXT_SUFFIXES, find_videos
from co3d.datasets.layouts.list_rows import PATH_HEADINGS
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.manifest_file import is_manifest, read_manifest
from co3d.datasets.text_lines import Line, read_lines
from co3d.errors import DataError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def list_archive(sources: Iterable[str | Path]) -> Manifest:
    """The videos of an archive, each once, in the order in which they were named.

    A source is a video; a folder, for all videos below it; a manifest of co3d; or a list: one path
    a line, or a table (.csv, .tsv) whose paths are in its first column or one with a heading such
    as `path` or `video`. Paths in a list are relative to its folder. A video's id is its path from
    the folder or list that named it, so the archive may be moved.

    Raises:
        DataError: a list cannot be read, two videos have one id, or there is no video at all.
    """
    found: dict[str, VideoEntry] = {}
    for source in map(Path, sources):
        for entry in _list_source(source):
            known = found.setdefault(entry.video_id, entry)
            if known != entry:
                raise DataError(
                    f"cannot label {known.path} and {entry.path}: both are called "
                    f"{entry.video_id!r} in the archive; name a folder above both, or label them "
                    "into two folders"
                )
    if not found:
        raise DataError(
            "cannot label anything: no video was found in the given sources; check the paths"
        )
    return Manifest(Path(), (), tuple(found.values()))


def _list_source(source: Path) -> Iterator[VideoEntry]:
    if source.is_dir():
        videos = find_videos(source)
        if not videos:  # it may be a folder of frames itself
            yield _make_entry(source.name, source)
        for video in videos:
            yield _make_entry(video.path, source / video.path)
    elif is_manifest(source):
        manifest = read_manifest(source)
        for entry in manifest.entries:
            place = manifest.resolve(entry).absolute().as_posix()
            yield replace(entry, path=place, labels=(), segments=(), split=None)
    elif source.suffix.lower() in TEXT_SUFFIXES:
        for path in _read_list(source):
            yield _make_entry(path, source.parent / path)
    else:
        yield _make_entry(source.name, source)


def _make_entry(video_id: str, path: Path) -> VideoEntry:
    return VideoEntry(video_id, path.absolute().as_posix(), ())


def _read_list(path: Path) -> Iterator[str]:
    """The paths in a list, as they are written there."""
    lines = list(read_lines(path))
    separator = _SEPARATORS.get(path.suffix.lower())
    if separator is None:
        yield from (line.text.strip() for line in lines)
        return
    rows = [(line, _split(line, separator)) for line in lines]
    headings = [cell.strip().casefold().replace("_", " ") for cell in rows[0][1]] if rows else []
    named = [name for name in PATH_HEADINGS if name in headings]
    column = headings.index(named[0]) if named else 0
    for line, cells in rows[1:] if named else rows:
        if len(cells) <= column or not cells[column].strip():
            line.refuse(line.text, f"the path of a video in column {column + 1}")
        yield cells[column].strip()


def _split(line: Line, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.text], delimiter=separator, strict=True))
    except csv.Error:
        line.refuse(line.text, "a row of a table with the path of a video")
