"""What the server reports about streams, as JSON values."""

from typing import Any

from co3d.engine import Prediction, SourceChanged
from co3d.engine.messages import describe_prediction, describe_state
from co3d.engine.results import ResultItem


def describe_item(stream: str, item: ResultItem) -> dict[str, Any]:
    """A prediction, a source's state, or the end of a stream; the route adds causes."""
    if isinstance(item, Prediction):
        return {
            "type": "prediction",
            "stream": stream,
            **describe_prediction(item),
            "seen_seconds": round(item.seen_pts_seconds, 6),
            "label": item.label,
            "why_unlabelled": item.why_unlabelled,
            "queue_ms": round(item.queue_ms, 3),
            "restarted": item.restarted,
        }
    if isinstance(item, SourceChanged):
        return {"type": "state", "stream": stream, **describe_state(item.state), "cause": None}
    return {"type": "ended", "stream": stream}
