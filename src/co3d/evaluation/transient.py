"""Transient response: how right a stream is, by the number of frames that it has seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from co3d.evaluation.records import VideoRecord

LEAST_SHARE = 0.5
"""Beyond the frame that fewer than this share of the videos reach, the curve is another set's."""


@dataclass(frozen=True)
class TransientResponse:
    """Accuracy of the likeliest class after each frame, over the videos that have the frame.

    Attributes:
        accuracy: after 1, 2, … frames; shares, not percent.
        videos: how many videos reach that frame.
        first_valid: frames after which the network is full; None where it never was.
        every_frame: share of all valid steps that name the video's class; None without any.
    """

    accuracy: tuple[float, ...]
    videos: tuple[int, ...]
    first_valid: int | None
    every_frame: float | None


def measure_transient(records: Sequence[VideoRecord]) -> TransientResponse:
    """Measure the traces of single-label videos, of which there is at least one."""
    traces = [(record.trace, record.labels[0]) for record in records if record.trace is not None]
    longest = max(len(trace.labels) for trace, _ in traces)
    right, seen = np.zeros(longest, np.int64), np.zeros(longest, np.int64)
    valid_right = valid_steps = 0
    for trace, label in traces:
        hits = np.asarray(trace.labels) == label
        right[: len(hits)] += hits
        seen[: len(hits)] += 1
        valid_right += int(hits[trace.first_valid :].sum())
        valid_steps += len(hits) - trace.first_valid
    kept = int((seen >= LEAST_SHARE * len(traces)).sum())
    starts = [t.first_valid + 1 for t, _ in traces if t.first_valid < len(t.labels)]
    return TransientResponse(
        accuracy=tuple((right[:kept] / seen[:kept]).tolist()),
        videos=tuple(seen[:kept].tolist()),
        first_valid=min(starts, default=None),
        every_frame=valid_right / valid_steps if valid_steps else None,
    )
