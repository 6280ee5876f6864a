"""What users hand to a step: lists and arrays become tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.errors import InputShapeError

GivenFrames = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]
GivenMask = Tensor | np.ndarray | Sequence[bool]


def gather_frames(given: Any, inputs: int, rows: int) -> tuple[Any, ...]:
    """The frames of a step, a tensor for each input of the model; what is no tensor is left as is.

    Args:
        given: an array (rows, C, H, W); or a list, of such arrays for a model with several inputs,
            else of a frame (C, H, W) or (1, C, H, W) for each slot.
        inputs: of the model. rows: slots that step.
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
    """The rows that a mask of (rows,) bool marks.

    Raises:
        InputShapeError: it is another thing, or of another length or type.
    """
    mask = torch.tensor(given) if _is_list_of_bool(given) else _read_array(given)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != (rows,):
        raise InputShapeError(
            f"cannot step: got {name} = {describe_given(mask)}, expected ({rows},) bool, one per "
            "slot"
        )
    return mask.nonzero().flatten().tolist()


def describe_given(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {tuple(value.shape)} ({value.dtype})"
    if isinstance(value, list | tuple):
        kinds = dict.fromkeys(type(item).__name__ for item in value)
        return f"{type(value).__name__} of {len(value)} ({' and '.join(kinds) or 'empty'})"
    return f"a {type(value).__name__}"


def _is_list_of_bool(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(item, bool) for item in given)


def _read_array(given: Any) -> Any:
    """An array of NumPy as a tensor, over the same memory where PyTorch can read it."""
    if not isinstance(given, np.ndarray):
        return given
    try:
        readable = given if given.flags.writeable else given.copy()
        return torch.from_numpy(np.ascontiguousarray(readable))
    except TypeError:  # strings, say, or another order of bytes
        return given
