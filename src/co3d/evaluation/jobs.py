"""What there is to evaluate: the videos of a manifest, with the model's numbers for their classes."""

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.errors import DataError

LIMIT_SEED = 0


@dataclass(frozen=True)
class Job:
    """One video to evaluate.

    Attributes:
        index: position in the manifest.
        entry: the video, its labels and segments numbered as the model numbers classes.
    """

    index: int
    entry: VideoEntry


def make_jobs(
    manifest: Manifest, model_labels: Sequence[str], num_classes: int, limit: int | None = None
) -> list[Job]:
    """The videos to evaluate, with labels as the model numbers them.

    Classes are matched by name where the model knows names, so that another order in the data set
    does no damage; by number where it knows none.

    Args:
        limit: at most so many videos, drawn evenly at random, the same ones every time; a larger
            limit keeps those of a smaller one.

    Raises:
        DataError: a class that the model does not know, a video without a class in a single-label
            set, or no video at all.
    """
    to_model = match_classes(manifest.class_names, model_labels, num_classes)
    jobs = [Job(i, _renumber(entry, to_model)) for i, entry in enumerate(manifest.entries)]
    if not jobs:
        raise DataError("cannot evaluate: the data set has no videos; check the split and the path")
    if not manifest.multi_label:
        unlabelled = [job.entry.video_id for job in jobs if len(job.entry.labels) != 1]
        if unlabelled:
            raise DataError(
                f"cannot evaluate: {len(unlabelled)} videos have no class, or several "
                f"({', '.join(unlabelled[:3])}…); give each one class, or name another split"
            )
    if limit is not None:
        random.Random(LIMIT_SEED).shuffle(jobs)  # noqa: S311 (no secret)
        jobs = sorted(jobs[:limit], key=lambda job: job.index)
    return jobs


def match_classes(
    class_names: Sequence[str], model_labels: Sequence[str], num_classes: int
) -> list[int]:
    """The model's index of each class of a data set.

    Raises:
        DataError: the model has no such class, or another number of classes and no names.
    """
    if not model_labels:
        if len(class_names) != num_classes:
            raise DataError(
                f"cannot evaluate: the data set has {len(class_names)} classes, the model "
                f"{num_classes} without names; give weights that name their classes"
            )
        return list(range(num_classes))
    known = {_plain(label): index for index, label in enumerate(model_labels)}
    missing = [name for name in class_names if _plain(name) not in known]
    if missing:
        raise DataError(
            f"cannot evaluate: the model does not know {len(missing)} of the data set's "
            f"{len(class_names)} classes ({', '.join(missing[:3])}); it knows "
            f"{', '.join(model_labels[:3])}…; choose weights trained on these classes"
        )
    return [known[_plain(name)] for name in class_names]


def _plain(name: str) -> str:
    """A class name without what copies of a data set differ in: case, underscores, quotes."""
    return " ".join(name.strip().strip("\"'").replace("_", " ").casefold().split())


def _renumber(entry: VideoEntry, to_model: Sequence[int]) -> VideoEntry:
    return dataclasses.replace(
        entry,
        labels=tuple(to_model[label] for label in entry.labels),
        segments=tuple(
            Segment(to_model[s.label], s.start_seconds, s.end_seconds) for s in entry.segments
        ),
    )
