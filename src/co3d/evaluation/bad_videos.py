"""Videos that cannot be evaluated: the errors that mean so, and the record of such a video."""

from co3d.errors import (
    DamagedVideoError,
    DataError,
    EmptyVideoError,
    InputShapeError,
    NotAVideoError,
    NoVideoStreamError,
    SandboxError,
    SourceNotFoundError,
    VideoLimitError,
)
from co3d.evaluation.jobs import Job
from co3d.evaluation.records import VideoRecord

BAD_VIDEO_ERRORS = (
    DamagedVideoError,
    EmptyVideoError,
    InputShapeError,
    NoVideoStreamError,
    NotAVideoError,
    SandboxError,
    SourceNotFoundError,
    VideoLimitError,
)


def exclude(job: Job, error: Exception, *, strict: bool) -> VideoRecord:
    """The record of a video that is left out of every measure.

    Args:
        strict: raise instead.

    Raises:
        DataError: with `strict`, naming the video.
    """
    if strict:
        raise DataError(
            f"stopped at video {job.entry.video_id!r}: {error}; without --strict it would be left "
            "out and counted"
        ) from error
    return VideoRecord(
        index=job.index,
        video_id=job.entry.video_id,
        labels=job.entry.labels,
        scores={},
        error=f"{type(error).__name__}: {error}",
    )
