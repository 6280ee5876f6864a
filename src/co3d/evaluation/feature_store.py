"""Features of a run that is not over: a file a video, so that a kill loses none that was done."""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from co3d.evaluation.features import VideoFeatures
from co3d.evaluation.header import Header
from co3d.evaluation.jobs import Job
from co3d.files import make_folder, output_file

FORMAT, VERSION = "co3d feature store", 1


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
            header.check(path.read_bytes(), path)
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
            with self._path(job).open("rb") as file, np.load(file) as arrays:
                return VideoFeatures(
                    job,
                    tuple(arrays["start_seconds"].tolist()),
                    tuple(arrays["end_seconds"].tolist()),
                    torch.from_numpy(arrays["features"]),
                )
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def remove(self) -> None:
        """Remove the folder, whose contents are in the results now."""
        shutil.rmtree(self._folder)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.index:06d}.npz"
