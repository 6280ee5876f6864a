"""Features of a run that is not over: a file a video, so that a kill loses none that was done."""

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile

import numpy as np
import torch

from co3d.errors import DataError
from co3d.evaluation.features import VideoFeatures
from co3d.evaluation.header import Header
from co3d.evaluation.jobs import Job
from co3d.files import make_folder, output_file, read_small
from co3d.zip_directory import open_zip

FORMAT, VERSION = "co3d feature store", 1
_MOST_HEADER_BYTES = 1 << 20
_KINDS = {
    "start_seconds": (np.float64, 1),
    "end_seconds": (np.float64, 1),
    "features": (np.float32, 2),
}
"""Name of an array -> type of its numbers, and how many sizes it has."""

# What a damaged archive makes its reader raise.
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
    """Keeps the features of videos in a folder until all are there.

    Args:
        folder: made where there is none.
        settings: what determines the features; a folder made with others is refused.

    Raises:
        OptionError: the folder belongs to a run with other settings.
        DataError: it is no such folder.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        header, path = Header(FORMAT, VERSION, settings), folder / "run.json"
        make_folder(folder)
        if path.exists():
            try:
                content = read_small(path, _MOST_HEADER_BYTES)
            except (OSError, ValueError) as error:
                raise DataError(
                    f"cannot resume: {path} cannot be read ({error}); choose another folder"
                ) from error
            header.check(content, path)
            return
        with output_file(path) as temporary:
            temporary.write_bytes(header.encode())

    def add(self, features: VideoFeatures) -> None:
        """Keep the features of one video.

        Raises:
            OutputError: the disk is full, say.
        """
        with output_file(self._path(features.job)) as temporary:
            np.savez(
                temporary,
                start_seconds=features.start_seconds,
                end_seconds=features.end_seconds,
                features=features.features.numpy(),
            )

    def find(self, job: Job) -> VideoFeatures | None:
        """The features of a video; None where they are not there, or broken by a power cut."""
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
        """Remove the folder, whose contents are in the results now."""
        shutil.rmtree(self._folder)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.index:06d}.npz"


def _read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of a file that `FeatureStore` wrote: stored as they are, in what the file brings.

    Raises:
        ValueError: it is compressed, or holds more than it brings.
        and the others of `_READ_ERRORS`: it is broken.
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
            # What is no array is given as its bytes.
            return {name: np.asarray(arrays[name]) for name in _KINDS}
