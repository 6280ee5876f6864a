"""Compare predictions with the true labels of a video."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from co3d.engine import Prediction, Segment
from co3d.errors import SourceNotFoundError


@dataclass(frozen=True)
class SegmentAgreement:
    """A true segment, and the predictions in it.

    Attributes:
        truth: the segment. predictions: number of valid predictions for frames in it.
        agreeing: how many of them have the true label.
        settled, settled_agreeing: the same for predictions whose window lies entirely in this
            segment.
        mostly: the most frequent predicted label; empty without predictions.
    """

    truth: Segment
    predictions: int
    agreeing: int
    settled: int
    settled_agreeing: int
    mostly: str


def read_truth(path: Path) -> list[Segment]:
    """Read a list of {"label", "start_seconds", "end_seconds"}, in order of time.

    Raises:
        SourceNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"cannot read the truth: {path} does not exist; check the path")
    return [Segment(**segment) for segment in json.loads(path.read_text())]


def compare_with_truth(
    truth: Sequence[Segment], predictions: Sequence[Prediction], window_seconds: float
) -> list[SegmentAgreement]:
    """Compare the likeliest label of each valid prediction with the segment that it falls in.

    Args:
        truth: what is known, in order of time.
        predictions: in any order.
        window_seconds: time from the first to the last frame in the network's window.
    """
    return [_compare_segment(segment, predictions, window_seconds) for segment in truth]


def _compare_segment(
    truth: Segment, predictions: Sequence[Prediction], window_seconds: float
) -> SegmentAgreement:
    inside = [
        prediction
        for prediction in predictions
        if prediction.valid
        and truth.start_seconds <= prediction.frame.pts_seconds < truth.end_seconds
    ]
    settled_from = truth.start_seconds + window_seconds
    settled = [p for p in inside if p.frame.pts_seconds >= settled_from]
    named = Counter(prediction.label for prediction in inside if prediction.label)
    return SegmentAgreement(
        truth=truth,
        predictions=len(inside),
        agreeing=named[truth.label],
        settled=len(settled),
        settled_agreeing=sum(prediction.label == truth.label for prediction in settled),
        mostly=named.most_common(1)[0][0] if named else "",
    )
