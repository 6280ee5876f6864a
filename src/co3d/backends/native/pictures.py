"""Turns pictures into network frames: one kernel scales, crops and normalises in one pass."""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from co3d.backends.native.library import load_library

TAPS_AT_ONCE = 4
MOST_BITS = 22
KEPT_SIZES = 64
MOST_WEIGHTS = 1 << 22
"""Enough for pictures in 8K."""


class _ScalingStruct(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("count", ctypes.c_int32),
        ("taps", ctypes.c_int32),
        ("bits", ctypes.c_int32),
    )


class Scaling:
    """How one side of a picture is scaled and cropped, bilinear with antialiasing.

    Args:
        first: (count,) int32, per output pixel the first input pixel of its weighted sum.
        weights: (count, taps) int16, in units of 2 ** -bits.

    Attributes:
        address: the address of the C struct.
    """

    def __init__(self, first: np.ndarray, weights: np.ndarray, bits: int) -> None:
        self._held = (first, weights)
        self._struct = _ScalingStruct(first.ctypes.data, weights.ctypes.data, *weights.shape, bits)
        self.address = ctypes.addressof(self._struct)


@lru_cache(KEPT_SIZES)
def make_scaling(given: int, scaled: int, count: int) -> Scaling | None:
    """Scale `given` pixels to `scaled` ones, and keep the middle `count` of them.

    The weights equal bit for bit those of `F.interpolate` ("bilinear", `antialias`) on uint8, which
    are Pillow's: fixed point, with as many bits as let the largest weight fit int16.

    Returns:
        None where the kernel cannot do it: where the crop is larger than the scaled side, the
        weights are more than MOST_WEIGHTS, or the picture has fewer pixels than taps.
    """
    if count > scaled or given * scaled > MOST_WEIGHTS:
        return None
    scale = given / scaled
    centres = scale * (np.arange(scaled) + 0.5)
    distances = (np.arange(given) - centres[:, None] + 0.5) * (1 / max(scale, 1.0))
    exact = np.maximum(0.0, 1.0 - np.abs(distances))
    exact /= np.cumsum(exact, 1)[:, -1:]  # unlike `sum`, `cumsum` adds one by one
    largest, bits = exact.max(), 0
    while bits < MOST_BITS and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    taps = int(np.count_nonzero(exact, 1).max())
    taps = -(-taps // TAPS_AT_ONCE) * TAPS_AT_ONCE
    if taps > given:
        return None
    begin = (scaled - count) // 2
    kept = exact[begin : begin + count]
    first = np.minimum(np.argmax(kept > 0, 1), given - taps)
    weights = np.take_along_axis(kept, first[:, None] + np.arange(taps), 1)
    rounded = (weights * (1 << bits) + 0.5).astype(np.int16)
    return Scaling(first.astype(np.int32), rounded, bits)


class _PictureStruct(ctypes.Structure):
    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("row_bytes", ctypes.c_int64),
        ("columns", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
    )


class PlannedPicture(NamedTuple):
    """A picture, (H, W, 3) uint8, and the scaling of its columns and rows."""

    pixels: np.ndarray
    columns: Scaling
    rows: Scaling


class PictureKernel:
    """Makes frames of pictures with one kernel, which releases Python's GIL.

    Args:
        crop_px: side of the square that the network sees.
        table: (3, 256) float32, the normalised value of each 8-bit value of each colour.

    Raises:
        MissingPackageError: the kernels cannot be built here.
    """

    def __init__(self, crop_px: int, table: Tensor) -> None:
        self._crop_px, self._table = crop_px, table.contiguous()
        self._run = load_library().co3d_prepare_pictures

    def plan(self, picture: np.ndarray, scaled: tuple[int, int]) -> PlannedPicture | None:
        """Plan how to scale a picture to (height, width) and crop its centre.

        Args:
            picture: (H, W, 3) uint8.
            scaled: in pixels, each at least `crop_px`.

        Returns:
            What `prepare` takes; None where the kernel does not support the shape.
        """
        height, width = picture.shape[:2]
        rows = make_scaling(height, scaled[0], self._crop_px)
        columns = make_scaling(width, scaled[1], self._crop_px)
        if rows is None or columns is None:
            return None
        if picture.strides[1:] != (3, 1) or picture.strides[0] < 3 * width:
            picture = np.ascontiguousarray(picture)
        return PlannedPicture(picture, columns, rows)

    def prepare(self, pictures: Sequence[PlannedPicture]) -> Tensor:
        """Frames (pictures, 3, crop_px, crop_px) float32, with the table's values."""
        structs = (_PictureStruct * len(pictures))(
            *[
                (
                    pixels.ctypes.data,
                    pixels.shape[1],
                    pixels.shape[0],
                    pixels.strides[0],
                    columns.address,
                    rows.address,
                )
                for pixels, columns, rows in pictures
            ]
        )
        # NumPy allocates without releasing the GIL. `torch.empty` releases it, and may then wait
        # for another thread to give it back.
        shape = (len(pictures), 3, self._crop_px, self._crop_px)
        frames = torch.from_numpy(np.empty(shape, np.float32))
        self._run(structs, len(pictures), self._table.data_ptr(), frames.data_ptr())
        return frames
