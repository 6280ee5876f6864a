"""Localisation by Charades' protocol: which classes happen at 25 moments of each video.

The moments are those of the official script (`Charades_v1_localize.m`): (j - 1) / 25 of the video's
length for j = 1 … 25; a class happens at a moment that lies in one of its intervals, ends included.
"""

from collections.abc import Sequence

import numpy as np

from co3d.datasets.frame_times import measure_duration
from co3d.datasets.manifest import Segment, VideoEntry
from co3d.evaluation.detection import ScoredVideo

MOMENTS = 25


def match_moments(
    entry: VideoEntry, times_seconds: Sequence[float], frames_seconds: Sequence[float]
) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
    """The prediction to evaluate at each moment of a video, and the true classes then.

    Args:
        entry: with its segments, in seconds from the file's first frame.
        times_seconds: the time that each prediction describes.
        frames_seconds: of the frames of the file, on the same clock.

    Returns:
        For each of the 25 moments the index of the prediction nearest in time, and the classes.
    """
    origin_seconds = frames_seconds[0]
    start_seconds = entry.start_seconds or 0.0
    end_seconds = entry.end_seconds
    if end_seconds is None:
        end_seconds = measure_duration(np.asarray(frames_seconds))
    length_seconds = end_seconds - start_seconds
    moments = [start_seconds + index / MOMENTS * length_seconds for index in range(MOMENTS)]
    truth = labels_at(entry.segments, moments)
    return nearest([time - origin_seconds for time in times_seconds], moments), truth


def score_frames(
    entry: VideoEntry, pts_seconds: Sequence[float], scores: np.ndarray
) -> ScoredVideo:
    """The frames of a video for online detection.

    Args:
        entry: with its segments, in seconds from the file's first frame.
        pts_seconds: of its frames; the first begins the part that belongs to the set.
        scores: (T, K) probabilities when each frame was the newest.
    """
    origin_seconds = pts_seconds[0] - (entry.start_seconds or 0.0)
    return ScoredVideo(np.asarray(pts_seconds) - origin_seconds, scores, entry.segments)


def labels_at(
    segments: Sequence[Segment], moments_seconds: Sequence[float]
) -> tuple[tuple[int, ...], ...]:
    """Classes that happen at each moment, sorted."""
    return tuple(
        tuple(sorted({s.label for s in segments if s.start_seconds <= moment <= s.end_seconds}))
        for moment in moments_seconds
    )


def nearest(times_seconds: Sequence[float], moments_seconds: Sequence[float]) -> list[int]:
    """Index of the time nearest to each moment; the earlier of two at equal distance."""
    times = np.asarray(times_seconds)
    return [int(np.abs(times - moment).argmin()) for moment in moments_seconds]
