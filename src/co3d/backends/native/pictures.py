"""Pictures to frames in one pass: scaled, cropped and normalised by one kernel."""

import ctypes
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from co3d.backends.native.library import load_library

TAPS_AT_ONCE = 4
MOST_BITS = 22
KEPT_SIZES = 64
MOST_WEIGHTS = 1 << 22
"""As many as pictures in 8K need."""


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
        first: (count,) int32, the first pixel that each one made is a weighted sum of.
        weights: (count, taps) int16, in units of 2 ** -bits.

    Attributes:
        address: where the kernel reads all of it.
    """

    def __init__(self, first: np.ndarray, weights: np.ndarray, bits: int) -> None:
        self._held = (first, weights)
        self._struct = _ScalingStruct(first.ctypes.data, weights.ctypes.data, *weights.shape, bits)
        self.address = ctypes.addressof(self._struct)


@lru_cache(KEPT_SIZES)
def make_scaling(given: int, scaled: int, count: int) -> Scaling | None:
    """From `given` pixels to the middle `count` of `scaled` ones; None of a shape so odd, or a
    picture so small, that it is not worth a kernel.

    The weights are those that PyTorch takes for pixels of eight bits, bit for bit (`F.interpolate`
    with "bilinear" and `antialias`), as Pillow does: as many bits as let the largest fit 16.
    """
    if count > scaled or given * scaled > MOST_WEIGHTS:
        return None
    scale = given / scaled
    centres = scale * (np.arange(scaled) + 0.5)
    distances = (np.arange(given) - centres[:, None] + 0.5) * (1 / max(scale, 1.0))
    exact = np.maximum(0.0, 1.0 - np.abs(distances))
    exact /= np.cumsum(exact, 1)[:, -1:]  # which adds in order, as `sum` does not
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


class PictureKernel:
    """Makes frames of pictures with one kernel, which lets other threads of Python run meanwhile.

    Args:
        crop_px: side of the square that the network sees.
        table: (3, 256) float32, of each colour what becomes of its values.

    Raises:
        MissingPackageError: the kernels cannot be built here.
    """

    def __init__(self, crop_px: int, table: Tensor) -> None:
        self._crop_px, self._table = crop_px, table.contiguous()
        self._run = load_library().co3d_prepare_picture

    def prepare(self, picture: np.ndarray, scaled: tuple[int, int]) -> Tensor | None:
        """Scale a picture to (height, width), keep its middle, and look its values up.

        Args:
            picture: (H, W, 3) uint8.
            scaled: in pixels, each at least `crop_px`.

        Returns:
            (1, 3, crop_px, crop_px) float32; None where the kernel is not made for such a picture.
        """
        height, width = picture.shape[:2]
        rows = make_scaling(height, scaled[0], self._crop_px)
        columns = make_scaling(width, scaled[1], self._crop_px)
        if rows is None or columns is None:
            return None
        if picture.strides[1:] != (3, 1) or picture.strides[0] < 3 * width:
            picture = np.ascontiguousarray(picture)
        frame = torch.empty(1, 3, self._crop_px, self._crop_px)
        self._run(
            picture.ctypes.data,
            width,
            height,
            picture.strides[0],
            columns.address,
            rows.address,
            self._table.data_ptr(),
            frame.data_ptr(),
        )
        return frame
