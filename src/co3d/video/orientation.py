"""How a decoded picture must be turned and mirrored to be upright."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

ROW_LENGTH = 3
"""A display matrix has three rows of three; its last column does not matter for a picture."""


def _name_unknown(kind: type[Type], value: object) -> Type:
    """A member for kinds of side data that this PyAV does not name: EXIF tags, with FFmpeg 8.1."""
    unknown = object.__new__(kind)
    unknown._name_, unknown._value_ = f"UNKNOWN_{value}", value
    return unknown


# Without this, PyAV raises a ValueError for all side data of a frame that has such a kind.
Type._missing_ = classmethod(_name_unknown)  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Orientation:
    """One of the eight orientations; its operations apply in the order of the attributes.

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
        """The upright pixel aspect ratio (width by height) for a stored one."""
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

    The matrix (a b u; c d v; x y w) maps the pixel (p, q) to (a·p + c·q + x, b·p + d·q + y). Angles
    between quarter turns are rounded to the nearest one.
    """
    # `frame.side_data` makes a reference cycle, which keeps both alive until a garbage collection.
    container = SideDataContainer(frame)  # pyright: ignore[reportCallIssue] (missing in its stub)
    data = container.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    (a, b), (c, d) = np.frombuffer(data, np.int32).reshape(ROW_LENGTH, ROW_LENGTH)[:2, :2].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(is_transposed=True, flips_rows=b < 0, flips_columns=c < 0)
    return Orientation(flips_rows=d < 0, flips_columns=a < 0)
