"""Checkpoints of a run, written completely or not at all, and read without executing code.

Lightning writes a checkpoint into the temporary folder and moves it. Across file systems a move is
a copy: a kill in between would leave half a file in place of the previous checkpoint, and a full
disk none.
"""

import os
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from co3d.files import output_file
from co3d.weights.containers import read_training_checkpoint

_ADVICE = "make room, and run again with --resume"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the target, and renames once everything is on disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the previous file stays until this one is complete.

        Raises:
            OutputError: it cannot be written, for instance on a full disk.
        """
        del storage_options
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with output_file(path, _ADVICE) as temporary, temporary.open("wb") as file:
            _save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # makes the new name survive a power cut
        finally:
            os.close(folder)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint into main memory.

        Raises:
            WeightError: it is damaged, or holds more than tensors and plain data.
        """
        del map_location, weights_only
        return read_training_checkpoint(Path(path))


def _save(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # PyTorch's writer replaces the system's error by one of its own.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise
