"""Predictions with chosen contents."""

import numpy as np

from co3d.engine import Prediction
from co3d.video import VideoFrame

LABELS = ("pan", "tilt", "zoom in", "roll counter-clockwise")


def make_prediction(
    label: str,
    pts_seconds: float,
    *,
    probability: float = 0.7,
    valid: bool = True,
    step_ms: float = 2.0,
    dropped_frames: int = 0,
    image: np.ndarray | None = None,
    index: int | None = None,
    delay_seconds: float = 0.5,
    gap_seconds: float = 0.0,
    is_undersampled: bool = False,
) -> Prediction:
    """The label with its probability first; the others share the rest."""
    picture = np.zeros((4, 4, 3), np.uint8) if image is None else image
    number = round(pts_seconds * 8) if index is None else index
    rest = (1 - probability) / (len(LABELS) - 1)
    probabilities = np.full(len(LABELS), rest, np.float32)
    probabilities[LABELS.index(label)] = probability
    others = tuple((other, rest) for other in LABELS if other != label)
    return Prediction(
        frame=VideoFrame(picture, pts_seconds, number, gap_seconds, is_undersampled),
        from_pts_seconds=pts_seconds,
        seen_pts_seconds=pts_seconds + delay_seconds,
        valid=valid,
        is_undersampled=is_undersampled,
        probabilities=probabilities,
        top=((label, probability), *others)[:3],
        preprocess_ms=0.5,
        step_ms=step_ms,
        dropped_frames=dropped_frames,
    )
