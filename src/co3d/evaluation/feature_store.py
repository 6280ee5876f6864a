"""Features of an unfinished run, one file per video, so that a kill loses no finished video."""

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile

import numpy as np
import torch

from co3d.evaluation.features import VideoFeatures
from co3d.evaluation.header import Header
from co3d.evaluation.jobs import Job
from co3d.files import output_file
from co3d.zip_directory import open_zip

FORMAT, VERSION = "co3d feature store", 1
_KINDS = {
    "start_seconds": (np.float64, 1),
    "end_seconds": (np.float64, 1),
    "features": (np.float32, 2),
}
"""Name of an array -> its data type, and its number of dimensions."""

# The exceptions that reading a damaged archive raises.
_READ_ERRORS = (
    OSError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    BadZipFile,
)


class FeatureStore:
    """Stores the features of videos in a folder until all are done.

    Args:
        folder: created if absent.
        settings: all that determines the features; a folder made with other settings is refused.

    Raises:
        OptionError: the folder belongs to a run with other settings.
        DataError: it is not such a folder.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        Header(FORMAT, VERSION, settings).check_or_write(folder / "run.json")

    def add(self, features: VideoFeatures) -> None:
        """Store the features of one video.

        Raises:
            OutputError: they cannot be written, for instance on a full disk.
        """
        with output_file(self._path(features.job)) as temporary:
            np.savez(
                temporary,
                start_seconds=features.start_seconds,
                end_seconds=features.end_seconds,
                features=features.features.numpy(),
            )

    def find(self, job: Job) -> VideoFeatures | None:
        """The features of a video; None if they are absent, or damaged by a power cut."""
        try:
            arrays = _read_arrays(self._path(job))
            starts, ends, features = (arrays[name] for name in _KINDS)
        except _READ_ERRORS:
            return None
        for name, (kind, sizes) in _KINDS.items():
            if arrays[name].dtype != kind or arrays[name].ndim != sizes:
                return None
        if not len(starts) == len(ends) == len(features):
            return None
        return VideoFeatures(
            job, tuple(starts.tolist()), tuple(ends.tolist()), torch.from_numpy(features)
        )

    def remove(self) -> None:
        """Remove the folder once its contents are in the results."""
        shutil.rmtree(self._folder)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.index:06d}.npz"


def _read_arrays(path: Path) -> dict[str, Any]:
    """The arrays in a file of `FeatureStore`, which must be uncompressed and not exceed the file.

    Raises:
        ValueError: it is compressed, or claims to hold more than its size.
        The other errors in `_READ_ERRORS`: it is broken.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        records = open_zip(file).infolist()
        if len(records) != len(_KINDS) or any(r.compress_type != ZIP_STORED for r in records):
            raise ValueError("it is not as it was written")
        if sum(record.file_size for record in records) > size_bytes:
            raise ValueError("it claims more than it has")
        file.seek(0)
        with np.load(file) as arrays:
            # Entries that are not arrays are returned as bytes.
            return {name: np.asarray(arrays[name]) for name in _KINDS}
