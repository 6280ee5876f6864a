"""How a user wants the pictures of a source turned, mirrored and cropped."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from co3d.errors import OptionError
from co3d.video.frame import VideoFrame
from co3d.video.orientation import Orientation

Flip = Literal["horizontal", "vertical"]
Crop = tuple[int, int, int, int]

TURNS = {
    0: Orientation(),
    90: Orientation(is_transposed=True, flips_columns=True),
    180: Orientation(flips_rows=True, flips_columns=True),
    270: Orientation(is_transposed=True, flips_rows=True),
}
"""Degrees clockwise -> the orientation that turns a picture by them."""


@dataclass(frozen=True)
class Framing:
    """Rotation, flip and crop, applied in this order to upright pictures.

    Attributes:
        rotate: degrees clockwise, 0, 90, 180 or 270.
        flip: "horizontal" exchanges left and right, "vertical" top and bottom; None does neither.
        crop: (x, y, width, height) of what is kept, in pixels of the turned and mirrored picture,
            from its top left corner on; None keeps all.

    Raises:
        OptionError: one of them has a value that cannot work.
    """

    rotate: int = 0
    flip: Flip | None = None
    crop: Crop | None = None

    def __post_init__(self) -> None:
        """Refuse values that no picture can be turned, mirrored or cropped by."""
        if self.rotate not in TURNS:
            raise OptionError(
                f"cannot rotate by {self.rotate} degrees: choose 0, 90, 180 or 270, clockwise"
            )
        if self.flip not in (None, "horizontal", "vertical"):
            raise OptionError(f"cannot flip {self.flip!r}: choose 'horizontal' or 'vertical'")
        if self.crop is not None and not _is_rectangle(self.crop):
            raise OptionError(
                f"cannot crop to {self.crop}: expected x, y, width and height in whole pixels, "
                "with x and y from 0 on and a width and height of 1 or more"
            )

    @property
    def orientation(self) -> Orientation:
        """Rotation and flip as one."""
        turn = TURNS[self.rotate]
        return replace(
            turn,
            flips_rows=turn.flips_rows != (self.flip == "vertical"),
            flips_columns=turn.flips_columns != (self.flip == "horizontal"),
        )

    def size_of(self, width: int, height: int, name: str) -> tuple[int, int]:
        """The (width, height) in pixels that upright pictures of this size have afterwards.

        Args:
            name: of the source, for messages.

        Raises:
            OptionError: the crop lies outside of the picture.
        """
        width, height = self.orientation.size_of(width, height)
        if self.crop is None:
            return width, height
        left, top, cropped_width, cropped_height = self.crop
        if left + cropped_width > width or top + cropped_height > height:
            raise OptionError(
                f"cannot crop {name} to {cropped_width}x{cropped_height} pixels at {left},{top}: "
                f"its pictures have {width}x{height}; choose a part of that"
            )
        return cropped_width, cropped_height

    def apply(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """The same frames with framed pictures; a repeated picture is framed once."""
        if self == Framing():
            yield from frames
            return
        orientation = self.orientation
        left, top, width, height = self.crop or (0, 0, None, None)
        rows = slice(top, height and top + height)
        columns = slice(left, width and left + width)
        source: VideoFrame | None = None
        framed: VideoFrame | None = None
        for frame in frames:
            if framed is None or frame is not source:
                source = frame
                framed = replace(frame, image=orientation.apply(frame.image)[rows, columns].copy())
            yield framed


def _is_rectangle(crop: Crop) -> bool:
    if len(crop) != 4 or not all(isinstance(number, int) for number in crop):
        return False
    left, top, width, height = crop
    return left >= 0 and top >= 0 and width >= 1 and height >= 1
