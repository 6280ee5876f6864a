"""Predictions and states as clients get them."""

from datetime import datetime, timezone
from typing import Any

from co3d.engine import Prediction
from co3d.video import SourceState


def describe_prediction(prediction: Prediction) -> dict[str, Any]:
    """A prediction, ready for JSON; its keys are those of `co3d stream --json`."""
    lag_ms = prediction.lag_ms
    return {
        "type": "prediction",
        "stream": prediction.track,
        "pts_seconds": round(prediction.frame.pts_seconds, 6),
        "from_seconds": round(prediction.from_pts_seconds, 6),
        "seen_seconds": round(prediction.seen_pts_seconds, 6),
        "valid": prediction.valid,
        "label": prediction.label,
        "why_unlabelled": prediction.why_unlabelled,
        "gap_seconds": round(prediction.gap_seconds, 6),
        "undersampled": prediction.is_undersampled,
        "top": [
            {"label": label, "probability": round(probability, 6)}
            for label, probability in prediction.top
        ],
        "latency_ms": round(prediction.latency_ms, 3),
        "queue_ms": round(prediction.queue_ms, 3),
        "lag_ms": None if lag_ms is None else round(lag_ms, 3),
        "dropped_frames": prediction.dropped_frames,
    }


def describe_state(stream: str, state: SourceState) -> dict[str, Any]:
    """What a source does, ready for JSON."""
    return {
        "type": "state",
        "stream": stream,
        "state": state.phase,
        "since": format_time(state.since_seconds),
        "cause": state.cause,
    }


def format_time(unix_seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
