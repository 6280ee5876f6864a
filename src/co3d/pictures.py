"""Checks that a picture is (H, W, 3) uint8 in RGB order."""

import numpy as np

from co3d.errors import InputShapeError


def check_picture(picture: object, purpose: str) -> None:
    """Raise unless `picture` is an RGB picture.

    Args:
        picture: (H, W, 3) uint8, RGB, of at least one pixel.
        purpose: what it is for, as words that follow "cannot".

    Raises:
        InputShapeError: it has another shape or type.
    """
    if isinstance(picture, np.ndarray):
        is_rgb = picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
        if is_rgb and 0 not in picture.shape:
            return
        got = f"shape {picture.shape} of {picture.dtype}"
    else:
        got = f"a {type(picture).__name__}"
    raise InputShapeError(
        f"cannot {purpose}: got {got}, expected a picture (H, W, 3) of uint8 in RGB order; convert "
        "it first"
    )
