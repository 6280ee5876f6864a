"""The videos of a manifest that a run evaluates."""

import random
from dataclasses import dataclass

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError

LIMIT_SEED = 0


@dataclass(frozen=True)
class Job:
    """One video to evaluate.

    Attributes:
        index: position in the manifest.
        entry: the video.
    """

    index: int
    entry: VideoEntry


def make_jobs(manifest: Manifest, num_classes: int, limit: int | None = None) -> list[Job]:
    """The videos to evaluate.

    Args:
        manifest: opened with the model's class names if it has any, so that its labels are the
            model's class indices.
        num_classes: outputs of the model.
        limit: the most videos, drawn evenly at random, the same ones every time; a larger limit
            contains the videos of a smaller one.

    Raises:
        DataError: the numbers of classes differ, a video of a single-label set has no class or
            several, or there is no video at all.
    """
    if len(manifest.class_names) != num_classes:
        raise DataError(
            f"cannot evaluate: got a data set of {len(manifest.class_names)} classes, expected "
            f"{num_classes} as the model has; give weights that were trained on this data set"
        )
    jobs = [Job(index, entry) for index, entry in enumerate(manifest.entries)]
    if not jobs:
        raise DataError("cannot evaluate: the data set has no videos; check the split and the path")
    if not manifest.multi_label:
        odd = [job.entry.video_id for job in jobs if len(job.entry.labels) != 1]
        if odd:
            raise DataError(
                f"cannot evaluate: got {len(odd)} videos without a class, or with several "
                f"({', '.join(odd[:3])}), expected one class each; name another split, or correct "
                "the manifest"
            )
    if limit is not None:
        random.Random(LIMIT_SEED).shuffle(jobs)  # noqa: S311 (no secret)
        jobs = sorted(jobs[:limit], key=lambda job: job.index)
    return jobs
