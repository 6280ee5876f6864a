"""From a decoder's frame to an upright RGB picture."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from co3d.errors import NotAVideoError
from co3d.video.frame import VideoFrame
from co3d.video.orientation import read_orientation
from co3d.video.turns import decoding_turns

CONVERTS_IN_THREADS = "threads" in (av.VideoFrame.reformat.__doc__ or "")
"""Whether this PyAV lets the caller choose the number of threads that convert a picture."""


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as the decoder gives it, with its presentation time, position and arrival.

    Attributes:
        received_seconds: when it came from a camera or network, Unix time; None for files.
    """

    frame: av.VideoFrame
    pts_seconds: float
    index: int
    received_seconds: float | None = None


DecodedListener = Callable[[DecodedFrame], None]


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(width, height) in pixels once the display matrix is applied."""
    return read_orientation(frame).size_of(frame.width, frame.height)


def to_rgb(frame: av.VideoFrame, width: int, height: int, threads: int | None = None) -> np.ndarray:
    """Return the upright picture, (height, width, 3) uint8 RGB, scaled if its size differs.

    Its pixels do not depend on the number of threads; None leaves that number to FFmpeg.
    """
    options: dict[str, Any] = (
        {"threads": threads} if threads is not None and CONVERTS_IN_THREADS else {}
    )
    orientation = read_orientation(frame)
    width, height = orientation.size_of(width, height)
    try:
        rgb = decoding_turns.take(
            partial(frame.to_ndarray, format="rgb24", width=width, height=height, **options)
        )
    except FFmpegError as error:
        raise NotAVideoError(
            f"cannot turn pixels of format {frame.format.name} into RGB ({error.strerror}); "
            "convert the video to yuv420p"
        ) from error
    return orientation.apply(rgb)


def convert_frames(
    decoded: Iterable[DecodedFrame], width: int, height: int, threads: int | None = None
) -> Iterator[VideoFrame]:
    """Convert the sampled frames; a repeated frame is converted once."""
    source: DecodedFrame | None = None
    picture: VideoFrame | None = None
    for item in decoded:
        if picture is None or item is not source:
            image = to_rgb(item.frame, width, height, threads)
            source = item
            picture = VideoFrame(
                image, item.pts_seconds, item.index, received_seconds=item.received_seconds
            )
        yield picture
