"""Running step programs over real video."""

from co3d.engine.comparison import SpeedComparison, compare_with_clip
from co3d.engine.labelling import Labeller, Prediction
from co3d.engine.opening import open_labeller, read_rate_hz
from co3d.engine.summary import LabellingSummary, Segment

__all__ = [
    "Labeller",
    "LabellingSummary",
    "Prediction",
    "Segment",
    "SpeedComparison",
    "compare_with_clip",
    "open_labeller",
    "read_rate_hz",
]
