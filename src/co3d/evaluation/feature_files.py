"""Write features to disk: as Parquet video by video, or as one NumPy archive."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from co3d.evaluation.features import VideoFeatures
from co3d.files import output_file
from co3d.packages import require_package

Format = Literal["parquet", "numpy"]
SUFFIXES: dict[Format, str] = {"parquet": ".parquet", "numpy": ".npz"}


class FeatureSink(Protocol):
    """Receives the features of one video after another."""

    def add(self, features: VideoFeatures) -> None:
        """Write the rows of one video."""
        ...


@contextmanager
def open_features(path: Path, kind: Format) -> Iterator[FeatureSink]:
    """A file of features, which appears when the block succeeds.

    Parquet has the columns video_id, labels, start_seconds, end_seconds and features (a list of C
    numbers). The NumPy archive has arrays of the same names with R rows, except `labels`: (R, K)
    would be large, so it has `label`, the first class or -1.

    Args:
        path: with its suffix.

    Raises:
        MissingPackageError: pyarrow is not installed. OutputError: the file cannot be written.
    """
    with output_file(path) as temporary:
        sink = _ParquetSink(temporary) if kind == "parquet" else _NumpySink(temporary)
        try:
            yield sink
        finally:
            sink.close()


class _ParquetSink:
    """Writes a row group per video."""

    def __init__(self, path: Path) -> None:
        self._arrow = require_package("pyarrow", extra="evaluation")
        parquet = importlib.import_module("pyarrow.parquet")
        self._schema = self._arrow.schema(
            [
                ("video_id", self._arrow.string()),
                ("labels", self._arrow.list_(self._arrow.int32())),
                ("start_seconds", self._arrow.float64()),
                ("end_seconds", self._arrow.float64()),
                ("features", self._arrow.list_(self._arrow.float32())),
            ]
        )
        self._writer = parquet.ParquetWriter(path, self._schema)

    def add(self, features: VideoFeatures) -> None:
        count = len(features.features)
        columns = [
            [features.job.entry.video_id] * count,
            [list(features.job.entry.labels)] * count,
            list(features.start_seconds),
            list(features.end_seconds),
            list(features.features.numpy()),
        ]
        self._writer.write_table(
            self._arrow.Table.from_arrays(
                [
                    self._arrow.array(column, type=field.type)
                    for column, field in zip(columns, self._schema, strict=True)
                ],
                schema=self._schema,
            )
        )

    def close(self) -> None:
        self._writer.close()


class _NumpySink:
    """Collects all features, and writes them at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("video_id", "label", "start_seconds", "end_seconds", "features")
        }

    def add(self, features: VideoFeatures) -> None:
        count = len(features.features)
        labels = features.job.entry.labels
        self._columns["video_id"] += [features.job.entry.video_id] * count
        self._columns["label"] += [labels[0] if labels else -1] * count
        self._columns["start_seconds"] += features.start_seconds
        self._columns["end_seconds"] += features.end_seconds
        self._columns["features"] += list(features.features.numpy())

    def close(self) -> None:
        arrays: dict[str, Any] = {name: np.array(rows) for name, rows in self._columns.items()}
        with self._path.open("wb") as file:
            np.savez_compressed(file, **arrays)
