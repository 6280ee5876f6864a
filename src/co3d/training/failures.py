"""Turn failures during training into errors that say what to change."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from co3d.errors import Co3dError, OutputError, TrainingError
from co3d.training.recipe import Recipe
from co3d.training.run_folder import RunFolder


@contextmanager
def explain_failures(recipe: Recipe, run: RunFolder | None) -> Iterator[None]:
    """Raise failures that only show during training as errors that say what to change."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        if isinstance(error, Co3dError):
            raise
        if is_out_of_memory(error):
            raise TrainingError(
                f"cannot train: memory does not suffice; lower {_name_size(recipe)}, and raise "
                "optimiser.accumulate by as much to keep the size of a step"
            ) from error
        if run is not None and is_disk_full(error):
            raise OutputError(
                f"cannot write into {run.path}: the disk is full; make room and run again with "
                "--resume"
            ) from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that this process or one of its workers ran out of memory."""
    # A killed worker has usually run out of memory, shared or its own.
    signs = ("can't allocate memory", "killed by signal")
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def is_disk_full(error: Exception) -> bool:
    """Whether an error means that the disk is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "PytorchStreamWriter failed writing file" in str(error)


def _name_size(recipe: Recipe) -> str:
    if recipe.form.kind == "stream":
        return f"form.streams (now {recipe.form.streams}) or form.chunk_frames"
    if recipe.data.kind == "videos":
        return f"data.batch (now {recipe.data.batch})"
    return f"data.frames_per_batch (now {recipe.data.frames_per_batch})"
