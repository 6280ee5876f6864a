"""Converts predictions and states of sources to plain values for JSON."""

from typing import Any

from co3d.engine.prediction import Prediction
from co3d.printable import format_time
from co3d.video import SourceState


def describe_prediction(prediction: Prediction) -> dict[str, Any]:
    """A prediction, without the name of its track."""
    lag_ms, received_seconds = prediction.lag_ms, prediction.frame.received_seconds
    return {
        "frame_index": prediction.frame.index,
        "pts_seconds": round(prediction.frame.pts_seconds, 6),
        "from_seconds": round(prediction.from_pts_seconds, 6),
        "valid": prediction.valid,
        "gap_seconds": round(prediction.gap_seconds, 6),
        "undersampled": prediction.is_undersampled,
        "top": [
            {"label": label, "probability": round(probability, 6)}
            for label, probability in prediction.top
        ],
        "latency_ms": round(prediction.latency_ms, 3),
        "lag_ms": None if lag_ms is None else round(lag_ms, 3),
        "received_at": None if received_seconds is None else format_time(received_seconds),
        "dropped_frames": prediction.dropped_frames,
    }


def describe_state(state: SourceState) -> dict[str, Any]:
    """The state of a source, without its name."""
    return {
        "state": state.phase,
        "since": format_time(state.since_seconds),
        "cause": state.cause,
    }
