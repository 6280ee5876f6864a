"""One picture of a video and the moment at which it is shown."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class VideoFrame:
    """One picture of a video.

    Attributes:
        image: (H, W, 3) uint8, RGB, upright (rotation metadata applied).
        pts_seconds: presentation time as the container says; it need not start at zero.
        index: 0-based position among the frames of the source, before any sampling.
    """

    image: np.ndarray
    pts_seconds: float
    index: int

    def __repr__(self) -> str:
        return (
            f"VideoFrame(image={self.image.shape} {self.image.dtype}, "
            f"pts_seconds={self.pts_seconds:.6g}, index={self.index})"
        )
