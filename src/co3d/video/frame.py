"""One picture of a video and the moment at which it is shown."""

from dataclasses import dataclass

import numpy as np

NO_PICTURE = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False, repr=False)
class VideoFrame:
    """One picture of a video.

    Attributes:
        image: (H, W, 3) uint8, RGB, upright (display matrix applied).
        pts_seconds: presentation time from the container; it need not start at zero.
        index: 0-based position among the frames of the source, before any sampling.
        gap_seconds: time since the picture before it if that is a gap (see `co3d.video.pace`);
            else 0.
        is_undersampled: the source delivers pictures so rarely that most of the sampled frames are
            repeats (see `co3d.video.continuity`).
        received_seconds: when it came from a camera or network stream, Unix time; None for files.
    """

    image: np.ndarray
    pts_seconds: float
    index: int
    gap_seconds: float = 0.0
    is_undersampled: bool = False
    received_seconds: float | None = None

    def without_picture(self) -> "VideoFrame":
        """The same frame with an empty `image`, (0, 0, 3)."""
        return VideoFrame(
            NO_PICTURE,
            self.pts_seconds,
            self.index,
            self.gap_seconds,
            self.is_undersampled,
            self.received_seconds,
        )

    def __repr__(self) -> str:
        return (
            f"VideoFrame(image={self.image.shape} {self.image.dtype}, "
            f"pts_seconds={self.pts_seconds:.6g}, index={self.index})"
        )
