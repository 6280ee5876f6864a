"""The protocol of the CoX3D table (arXiv:2106.00050), as its authors' code runs it.

Each video gives one prediction. A clip from the middle of the video has as many frames as
initialise the network, plus one that gives the prediction. Frames are counted as PySlowFast counts
them, and indices past the video's end are clamped: a video of 10 s at 5 frames/s is shorter than
the 92 frames that a window of 64 needs, so its last frame is repeated. Pictures are scaled until
their short side equals the network's crop, without antialiasing. The initial state is that of a
video that has always shown the first frame.

Source: github.com/LukasHedegaard/co3d, `models/common/base.py`, `datasets/decoder.py`,
`datasets/dataloader.py`, `models/cox3d/scripts/test/kinetics400.sh`.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from co3d.datasets.clips import select_part
from co3d.datasets.frame_times import estimate_rate
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.sampling import pyslowfast_indices
from co3d.models import ModelCard
from co3d.video import VideoFrame
from co3d.video.indexed_opening import open_indexed_video

PAPER = "arXiv:2106.00050"
PAPER_WINDOW = 64
FRAME_DELAYS = {("x3d_s", 64): 84, ("x3d_m", 64): 84, ("x3d_l", 64): 124}
"""Network and window -> `--co3d_forward_frame_delay` of the test script."""

ROUNDING_FRAMES = 1e-3  # the paper's code rounds the start of a clip down to a container's tick


def count_init_frames(name: str, window: int | None, full_frames: int) -> int:
    """Frames of each video before its prediction.

    Args:
        name: of the network. window: of its last pool, in feature frames.
        full_frames: that fill the network: its receptive field without padding, less one.
    """
    delay = FRAME_DELAYS.get((name, window or 0), 0)
    return max(full_frames, delay - 1)


def make_paper_card(card: ModelCard) -> ModelCard:
    """The card with the pictures of the protocol: the crop is as large as the short side."""
    return dataclasses.replace(card, short_side_px=card.crop_px, antialias=False)


def choose_paper_indices(
    times_seconds: np.ndarray, frames: int, rate_hz: float, source_rate_hz: float | None = None
) -> np.ndarray:
    """The indices of the frames for the network.

    Args:
        times_seconds: (N,) when each frame of the video is shown, in order.
        frames: T, number of frames for the network. rate_hz: their rate.
        source_rate_hz: the video's own rate; None takes the mean over its frames.

    Returns:
        (T,) int64, indices into `times_seconds`, which never decrease.
    """
    total = len(times_seconds)
    size = frames * (source_rate_hz or estimate_rate(times_seconds)) / rate_hz
    start = max(0.0, (total - size) / 2)
    first = math.ceil(start - ROUNDING_FRAMES)
    return first + pyslowfast_indices(0.0, size, frames, total - first)


def read_paper_frames(
    manifest: Manifest, entry: VideoEntry, rate_hz: float, *, frames: int
) -> Iterator[VideoFrame]:
    """The frames of an entry for the network, one after another.

    Args:
        rate_hz: frames a second to sample to. frames: T, how many.

    Raises:
        What `co3d.datasets.clips.read_clip` raises.
    """
    path = manifest.resolve(entry)
    source = open_indexed_video(path, entry.rate_hz)
    try:
        part = select_part(path, source, entry.start_seconds, entry.end_seconds)
        times = source.times_seconds[part]
        shown: VideoFrame | None = None
        for index in choose_paper_indices(times, frames, rate_hz, source.rate_hz).tolist():
            position = part.start + index
            if shown is None or shown.index != position:
                (image,) = source.read([position])
                shown = VideoFrame(image, float(times[index]), position)
            yield shown
    finally:
        source.close()
