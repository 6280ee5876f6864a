"""Online action detection: compare each frame's probabilities with what happens at that time.

Average precision ranks all frames of all videos by the probability of a class. Calibrated average
precision (De Geest et al., Online Action Detection, 2016) weights the frames without the class so
that they count as much as those with it, `w · TP / (w · TP + FP)` with `w` = negatives / positives.
This makes classes and data sets of different frequencies comparable.

Scores given when a frame is the newest are compared with what happens in that frame, so a network
that waits for later frames is penalised for its delay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from co3d.datasets.manifest import Segment
from co3d.evaluation.metrics import mean_of_known

DETECTED = 0.5
"""Probability from which a class counts as detected."""


@dataclass(frozen=True)
class ScoredVideo:
    """The scores and the true actions of a video.

    Attributes:
        times_seconds: (T,) of each frame, on the clock of the segments.
        scores: (T, K) probabilities when it was the newest.
        segments: the true intervals of the classes.
    """

    times_seconds: np.ndarray
    scores: np.ndarray
    segments: Sequence[Segment]


@dataclass(frozen=True)
class DetectionMeasures:
    """Measures over all frames; shares, not percent.

    Attributes:
        frames: how many.
        mean_average_precision, mean_calibrated_precision: over the classes that occur; NaN if none
            does.
        per_class, calibrated_per_class: of each class; None if no frame shows it.
        intervals: number of true intervals. detected: the number of those in which the class
            reaches a probability of `DETECTED` at some frame.
        median_delay_seconds, mean_delay_seconds: from the beginning of an interval to the first
            such frame, over the detected ones; None without any.
    """

    frames: int
    mean_average_precision: float
    mean_calibrated_precision: float
    per_class: tuple[float | None, ...]
    calibrated_per_class: tuple[float | None, ...]
    intervals: int
    detected: int
    median_delay_seconds: float | None
    mean_delay_seconds: float | None


def measure_detection(videos: Iterable[ScoredVideo], classes: int) -> DetectionMeasures | None:
    """Measure the frames of videos; None if there is no frame."""
    scores: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    delays: list[float | None] = []
    for video in videos:
        scores.append(video.scores)
        truth.append(mark_frames(video.times_seconds, video.segments, classes))
        delays += [measure_delay(video, segment) for segment in video.segments]
    if not sum(map(len, scores)):
        return None
    said, happens = np.concatenate(scores), np.concatenate(truth)
    per_class: list[float | None] = []
    calibrated: list[float | None] = []
    for label in range(classes):
        positives = int(happens[:, label].sum())
        if not positives:
            per_class.append(None)
            calibrated.append(None)
            continue
        ratio = (len(happens) - positives) / positives
        per_class.append(rank_precision(said[:, label], happens[:, label]))
        calibrated.append(rank_precision(said[:, label], happens[:, label], weight=ratio))
    known = [delay for delay in delays if delay is not None]
    return DetectionMeasures(
        frames=len(said),
        mean_average_precision=mean_of_known(per_class),
        mean_calibrated_precision=mean_of_known(calibrated),
        per_class=tuple(per_class),
        calibrated_per_class=tuple(calibrated),
        intervals=len(delays),
        detected=len(known),
        median_delay_seconds=float(np.median(known)) if known else None,
        mean_delay_seconds=float(np.mean(known)) if known else None,
    )


def mark_frames(times_seconds: np.ndarray, segments: Sequence[Segment], classes: int) -> np.ndarray:
    """Which classes happen at each time, ends included: (T, K) bool."""
    happens = np.zeros((len(times_seconds), classes), np.bool_)
    for segment in segments:
        happens[_within(times_seconds, segment), segment.label] = True
    return happens


def measure_delay(video: ScoredVideo, segment: Segment) -> float | None:
    """Seconds from the beginning of an interval until its class is detected within it, or None."""
    hits = _within(video.times_seconds, segment) & (video.scores[:, segment.label] >= DETECTED)
    if not hits.any():
        return None
    return float(video.times_seconds[hits.argmax()] - segment.start_seconds)


def rank_precision(scores: np.ndarray, happens: np.ndarray, *, weight: float = 1.0) -> float:
    """Average precision of one class over N frames, at least one of which shows it.

    Frames of equal score share one rank, because no order among them is better than another.

    Args:
        scores: (N,). happens: (N,) bool.
        weight: of frames with the class, for calibrated precision. If all frames show it, the
            weight is 0 and the precision 1.
            it is 0, and the precision 1.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    right = np.cumsum(happens[order])[ends].astype(np.float64)
    wrong = ends + 1 - right
    found = np.diff(right, prepend=0.0)
    some = found > 0
    weighted = weight * right[some]
    total = weighted + wrong[some]
    precision = np.divide(weighted, total, out=np.ones_like(total), where=total > 0)
    return float((precision * found[some]).sum() / right[-1])


def _within(times_seconds: np.ndarray, segment: Segment) -> np.ndarray:
    return (segment.start_seconds <= times_seconds) & (times_seconds <= segment.end_seconds)
