"""Parts of an archive: the rows of one video as a Parquet file, written whole or not at all."""

import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from co3d.datasets.manifest import VideoEntry
from co3d.evaluation.header import Header
from co3d.files import output_file
from co3d.fleet.plan import Columns
from co3d.packages import require_package

ROW_GROUP = 1024
_HEADER, _VIDEO, _DAMAGE, _LABELS = b"co3d.archive", b"co3d.video", b"co3d.damage", b"co3d.labels"
_DIGITS, _MOST_NAME = 16, 80
_READ_ERRORS = (OSError, ValueError, LookupError)


@dataclass(frozen=True)
class Part:
    """What a part's metadata says.

    Attributes:
        rows: how many it has.
        damage: why the rows end before the video does; None if they do not.
    """

    rows: int
    damage: str | None


def require_parquet() -> Any:
    """The module that reads and writes Parquet.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    require_package("pyarrow", extra="label")
    return importlib.import_module("pyarrow.parquet")


def name_part(folder: Path, video_id: str) -> Path:
    """The path of a video's part: the video's name, and a digest that makes it unique."""
    digest = hashlib.sha256(video_id.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    stem = re.sub(r"[^\w.-]+", "_", PurePosixPath(video_id).stem)[:_MOST_NAME]
    # Readers of Parquet folders skip names that begin with a dot or an underscore.
    return folder / f"{stem.lstrip('._') or 'video'}-{digest}.parquet"


def describe_video(entry: VideoEntry) -> str:
    """The properties of a video that its part depends on, as JSON: its size, and which section."""
    path = Path(entry.path)
    values = {
        "bytes": path.stat().st_size if path.is_file() else None,
        "start_seconds": entry.start_seconds,
        "end_seconds": entry.end_seconds,
        "rate_hz": entry.rate_hz,
    }
    return json.dumps(values)


def find_part(path: Path, header: Header, entry: VideoEntry) -> Part | None:
    """The existing part of a video; None if there is none, or it is broken or of another video.

    The part of a video that was deleted is kept.

    Raises:
        OptionError, DataError: it was made with other options.
    """
    try:
        found = require_parquet().read_metadata(path)
        metadata = found.metadata or {}
        video, line = json.loads(metadata[_VIDEO]), metadata[_HEADER]
        rows = found.num_rows
    except _READ_ERRORS:
        return None
    header.check(line, path)
    wanted = json.loads(describe_video(entry))
    if wanted["bytes"] is None:
        wanted["bytes"] = video.get("bytes")
    damage = metadata.get(_DAMAGE)
    return Part(rows, None if damage is None else damage.decode()) if video == wanted else None


class PartWriter:
    """Writes the rows of one video in row groups of 1024.

    Attributes:
        rows: number of rows so far.
        damage: why the rows end before the video does; set it before `finish`.
    """

    def __init__(self, path: Path, video_id: str, columns: Columns, labels: Sequence[str]) -> None:
        parquet, arrow = require_parquet(), importlib.import_module("pyarrow")
        self._arrow, self._video_id, self._columns = arrow, video_id, columns
        single, many = arrow.float32(), arrow.list_(arrow.float32())
        kinds: Mapping[Columns, list[tuple[str, Any]]] = {
            "label": [("label", arrow.string()), ("probability", single)],
            "probabilities": [("probabilities", many)],
            "features": [("features", many)],
        }
        self._schema = arrow.schema(
            [("video", arrow.string()), ("pts_seconds", arrow.float64()), *kinds[columns]]
        )
        self._labels = labels
        self._writer = parquet.ParquetWriter(path, self._schema)
        self.rows = 0
        self.damage: str | None = None

    def add(self, times: Sequence[float], outputs: np.ndarray) -> None:
        """Write a row group.

        Args:
            times: (R,) of the described frames, in seconds.
            outputs: (R, K) float32, probabilities or features.
        """
        columns: list[Any] = [[self._video_id] * len(times), times]
        if self._columns == "label":
            best = outputs.argmax(1)
            columns += [[self._labels[index] for index in best], outputs.max(1)]
        else:
            columns.append(list(outputs))
        arrays = [
            self._arrow.array(column, type=field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(times)

    def finish(self, header: Header, entry: VideoEntry) -> None:
        """Write the metadata and the rest of the file."""
        metadata = {_HEADER: header.encode().rstrip(), _VIDEO: describe_video(entry).encode()}
        if self._columns == "probabilities":
            metadata[_LABELS] = json.dumps(list(self._labels)).encode()
        if self.damage is not None:
            metadata[_DAMAGE] = self.damage.encode()
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def close(self) -> None:
        """Close the file, complete or not; may be called twice."""
        self._writer.close()


@contextmanager
def open_part(
    path: Path, entry: VideoEntry, columns: Columns, labels: Sequence[str], header: Header
) -> Iterator[PartWriter]:
    """A part, which gets its name on disk only if the block succeeds.

    Raises:
        OutputError: it cannot be written.
    """
    with output_file(path) as temporary:
        writer = PartWriter(temporary, entry.video_id, columns, labels)
        try:
            yield writer
            writer.finish(header, entry)
        finally:
            writer.close()
        _sync(temporary)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
