"""How a decoded picture is turned and mirrored to be shown upright."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

ROW_LENGTH = 3
"""A display matrix has three rows of three; the last column is of no use for a picture."""


def _name_unknown(kind: type[Type], value: object) -> Type:
    """A kind of side data that this PyAV has no name for: EXIF tags, with FFmpeg 8.1."""
    unknown = object.__new__(kind)
    unknown._name_, unknown._value_ = f"UNKNOWN_{value}", value
    return unknown


# Without this, a frame with such data gives none of its side data: PyAV raises a ValueError.
Type._missing_ = classmethod(_name_unknown)  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Orientation:
    """One of the eight orientations; steps are taken in this order.

    Attributes:
        is_transposed: rows become columns.
        flips_rows: top and bottom change places.
        flips_columns: left and right change places.
    """

    is_transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """The upright (width, height) of a picture of this size."""
        return (height, width) if self.is_transposed else (width, height)

    def aspect_of(self, aspect: Fraction) -> Fraction:
        """The upright width of a pixel by its height, of one of this."""
        return 1 / aspect if self.is_transposed else aspect

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The upright picture, contiguous; rows and columns are the first two axes."""
        if self.is_transposed:
            image = image.swapaxes(0, 1)
        if self.flips_rows:
            image = image[::-1]
        if self.flips_columns:
            image = image[:, ::-1]
        return np.ascontiguousarray(image)


def read_orientation(frame: av.VideoFrame) -> Orientation:
    """The orientation in a frame's display matrix; upright where it has none.

    The matrix (a b u; c d v; x y w) shows the pixel at (p, q) at (a·p + c·q + x, b·p + d·q + y). An
    angle between quarter turns counts as the nearest one.
    """
    # A frame keeps its `side_data`, which refers to it: both would wait for a garbage collection.
    container = SideDataContainer(frame)  # pyright: ignore[reportCallIssue] (its stub lacks it)
    data = container.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    (a, b), (c, d) = np.frombuffer(data, np.int32).reshape(ROW_LENGTH, ROW_LENGTH)[:2, :2].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(is_transposed=True, flips_rows=b < 0, flips_columns=c < 0)
    return Orientation(flips_rows=d < 0, flips_columns=a < 0)
