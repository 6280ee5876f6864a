"""Converts the lists and arrays that callers pass to a step to tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.errors import InputShapeError

GivenFrames = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]
GivenMask = Tensor | np.ndarray | Sequence[bool]


def gather_frames(given: Any, inputs: int, rows: int) -> tuple[Any, ...]:
    """Convert the frames of a step to one tensor per input of the model.

    Values that cannot be converted are returned unchanged, for the caller's error message.

    Args:
        given: an array (rows, C, H, W); or a list of such arrays, one per input, for a model with
            several inputs; or a list of frames (C, H, W) or (1, C, H, W), one per slot.
        inputs: how many inputs the model has. rows: how many slots step.
    """
    if not isinstance(given, list | tuple):
        return (_read_array(given),)
    parts = tuple(map(_read_array, given))
    if inputs > 1 or len(parts) != rows or not all(isinstance(part, Tensor) for part in parts):
        return parts
    frames = [part[None] if part.ndim == 3 else part for part in parts]
    alike = all(frame.shape == frames[0].shape for frame in frames)
    if not alike or frames[0].ndim != 4 or frames[0].shape[0] != 1 or frames[0].is_sparse:
        return parts
    return (frames[0],) if rows == 1 else (torch.cat(frames),)


def read_mask(name: str, given: GivenMask, rows: int) -> list[int]:
    """The rows that are true in a mask (rows,) bool.

    Raises:
        InputShapeError: the mask has another type, length or dtype.
    """
    mask = torch.tensor(given) if _is_list_of_bool(given) else _read_array(given)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != (rows,):
        raise InputShapeError(
            f"cannot step: got {name} = {describe_given(mask)}, expected ({rows},) bool, one per "
            "slot"
        )
    return mask.nonzero().flatten().tolist()


def describe_given(value: Any) -> str:
    """Describe a value's type and shape, for messages."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {tuple(value.shape)} ({value.dtype})"
    if isinstance(value, list | tuple):
        kinds = dict.fromkeys(type(item).__name__ for item in value)
        return f"{type(value).__name__} of {len(value)} ({' and '.join(kinds) or 'empty'})"
    return f"a {type(value).__name__}"


def _is_list_of_bool(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(item, bool) for item in given)


def _read_array(given: Any) -> Any:
    """Convert a NumPy array to a tensor, sharing memory where PyTorch can."""
    if not isinstance(given, np.ndarray):
        return given
    try:
        readable = given if given.flags.writeable else given.copy()
        return torch.from_numpy(np.ascontiguousarray(readable))
    except TypeError:  # such as strings or another byte order
        return given
