"""The engine, which runs one step program over many videos and live streams."""

from co3d.engine.comparison import SpeedComparison, compare_with_clip
from co3d.engine.engine import Engine
from co3d.engine.label_video import label_video
from co3d.engine.labelling import Labeller
from co3d.engine.metrics import TrackMetrics
from co3d.engine.opening import find_network, open_labeller
from co3d.engine.prediction import Prediction
from co3d.engine.results import Results, SourceChanged, TrackEnded
from co3d.engine.summary import LabellingSummary, Segment
from co3d.engine.track import Track

__all__ = [
    "Engine",
    "Labeller",
    "LabellingSummary",
    "Prediction",
    "Results",
    "Segment",
    "SourceChanged",
    "SpeedComparison",
    "Track",
    "TrackEnded",
    "TrackMetrics",
    "compare_with_clip",
    "find_network",
    "label_video",
    "open_labeller",
]
