"""Transient response: the accuracy of a stream after each number of frames since its start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from co3d.evaluation.metrics import as_targets, measure_multi_label
from co3d.evaluation.records import VideoRecord, stack_scores

LEAST_SHARE = 0.5
"""The curve ends when fewer than this share of the videos are long enough, as few would bias it."""

MILESTONES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Mean average precision is measured after these numbers of frames only, because it needs the
probabilities of all classes, and those of every step of Charades would fill a disk."""


@dataclass(frozen=True)
class TransientResponse:
    """The accuracy or mAP after each number of frames, over the videos that are at least as long.

    Attributes:
        measure: "accuracy" of the likeliest class, or "mAP" where videos have several classes.
        frames: the numbers of frames, rising.
        values: the measure after each of them, from 0 to 1.
        videos: how many videos are at least as long, for each of these numbers.
        first_valid: frames until the first valid result; None where no result was valid.
        every_frame: share of all valid steps that name the video's class; None without any, and
            for several classes.
    """

    measure: Literal["accuracy", "mAP"]
    frames: tuple[int, ...]
    values: tuple[float, ...]
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
    return TransientResponse(
        measure="accuracy",
        frames=tuple(range(1, kept + 1)),
        values=tuple((right[:kept] / seen[:kept]).tolist()),
        videos=tuple(seen[:kept].tolist()),
        first_valid=_find_first_valid(records),
        every_frame=valid_right / valid_steps if valid_steps else None,
    )


def measure_transient_precision(records: Sequence[VideoRecord], classes: int) -> TransientResponse:
    """Measure the milestones of multi-label videos, of which there is at least one."""
    points: list[tuple[int, float, int]] = []
    for number, seen in enumerate(MILESTONES):
        reached = [record for record in records if len(record.milestones) > number]
        if not reached or len(reached) < LEAST_SHARE * len(records):
            break
        scores = stack_scores([record.milestones[number] for record in reached])
        targets = as_targets([record.labels for record in reached], classes)
        precision = measure_multi_label(scores, targets).mean_average_precision
        if not math.isnan(precision):  # no video with so many frames shows any class
            points.append((seen, precision, len(reached)))
    return TransientResponse(
        measure="mAP",
        frames=tuple(seen for seen, _, _ in points),
        values=tuple(precision for _, precision, _ in points),
        videos=tuple(count for _, _, count in points),
        first_valid=_find_first_valid(records),
        every_frame=None,
    )


def _find_first_valid(records: Sequence[VideoRecord]) -> int | None:
    traces = [record.trace for record in records if record.trace is not None]
    return min((t.first_valid + 1 for t in traces if t.first_valid < len(t.labels)), default=None)
