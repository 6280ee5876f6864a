"""Predictions of a network of three labels, without a network."""

import numpy as np

from co3d.engine import Prediction
from co3d.video import VideoFrame

LABELS = ("falling", "walking", "running")
NO_PICTURE = np.empty((0, 0, 3), np.uint8)


def make_prediction(
    pts_seconds: float,
    falling: float,
    walking: float = 0.0,
    *,
    track: str = "door",
    valid: bool = True,
    gap_seconds: float = 0.0,
    is_undersampled: bool = False,
    received_seconds: float | None = None,
    image: np.ndarray = NO_PICTURE,
) -> Prediction:
    frame = VideoFrame(
        image, pts_seconds, 0, gap_seconds, is_undersampled, received_seconds=received_seconds
    )
    probabilities = np.array([falling, walking, max(0.0, 1 - falling - walking)], np.float32)
    return Prediction(
        frame, pts_seconds, pts_seconds, valid, is_undersampled, probabilities, (), 0.0, 0.0, 0,
        track=track,
    )  # fmt: skip
