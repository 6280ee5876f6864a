"""Probabilities of every frame, one file per video, since a data set's would fill memory."""

from pathlib import Path

import numpy as np
from torch import Tensor

from co3d.errors import DataError
from co3d.files import make_folder, output_file

FOLDER = "frame_scores"


class FrameScores:
    """Stores the probabilities of videos in a folder.

    Args:
        folder: created with the first file.
        classes: number of classes.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        self._folder, self._classes = folder, classes

    def add(self, index: int, probabilities: Tensor) -> None:
        """Store the probabilities of one video.

        Args:
            index: of the video in the manifest.
            probabilities: (T, K), a row per frame.

        Raises:
            OutputError: the file cannot be written, for instance on a full disk.
        """
        make_folder(self._folder)
        with output_file(self._path(index)) as temporary:
            np.save(temporary, probabilities.float().numpy(), allow_pickle=False)

    def read(self, index: int, frames: int) -> np.ndarray:
        """Read them back: (T, K) float32, for a video of `frames` frames.

        Raises:
            DataError: they are absent, or of another video.
        """
        path = self._path(index)
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"cannot read the scores of every frame: {path} is not there or broken ({error}); "
                "evaluate into another folder, which all processes see"
            ) from error
        wanted = (frames, self._classes)
        if found.shape != wanted or found.dtype != np.float32:
            raise DataError(
                f"cannot read the scores of every frame: {path} has {found.dtype} {found.shape}, "
                f"expected float32 {wanted}; evaluate into another folder"
            )
        return found

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:06d}.npy"
