"""Features of a layer for the videos of a manifest: a row per clip, or per frame of a stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from co3d.datasets.manifest import Manifest
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform
from co3d.errors import EmptyVideoError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS, exclude
from co3d.evaluation.clip_mode import read_clips
from co3d.evaluation.frames import read_entry
from co3d.evaluation.jobs import Job
from co3d.evaluation.layer import LayerFeatures
from co3d.models import ModelCard
from co3d.runtime import Stream


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video.

    Attributes:
        job: the video.
        start_seconds, end_seconds: (R,) presentation times of the first and the last frame that a
            row describes; the same frame in stream mode.
        features: (R, C) float32; no rows where there is an error.
        error: why the video is left out; None where it is not.
    """

    job: Job
    start_seconds: tuple[float, ...]
    end_seconds: tuple[float, ...]
    features: Tensor
    error: str | None = None


def clip_features(
    manifest: Manifest,
    network: LayerFeatures,
    card: ModelCard,
    jobs: Iterable[Job],
    *,
    sampling: Sampling,
    strict: bool = False,
) -> Iterator[VideoFeatures]:
    """A row per clip, averaged over the clip's time.

    Args:
        sampling: which clips of each video.

    Raises:
        DataError: a bad video, in strict mode.
    """
    transform = TestTransform(card)
    for job in jobs:
        try:
            rows, starts, ends = [], [], []
            for clip in read_clips(manifest, job.entry, card, sampling):
                with torch.inference_mode():
                    row = network(transform(clip.frames)[None])
                rows.append(row.flatten(2).mean(2) if row.ndim > 2 else row)
                starts.append(float(clip.pts_seconds[0]))
                ends.append(float(clip.pts_seconds[-1]))
            yield VideoFeatures(job, tuple(starts), tuple(ends), torch.cat(rows).float())
        except BAD_VIDEO_ERRORS as error:
            yield _leave_out(job, error, strict=strict)


def stream_features(
    manifest: Manifest,
    stream: Stream,
    card: ModelCard,
    jobs: Iterable[Job],
    *,
    rate_hz: float,
    strict: bool = False,
) -> Iterator[VideoFeatures]:
    """A row per frame that the layer describes: all but the last `delay` frames of a video.

    Args:
        stream: open, with one slot, of the step program of a `LayerFeatures`.
        rate_hz: frames per second that the stream is shown.

    Raises:
        DataError: a bad video, in strict mode.
    """
    delay = stream.program.delay
    for job in jobs:
        stream.reset()
        times: list[float] = []
        described: list[float] = []
        rows: list[Tensor] = []
        try:
            for frame in read_entry(manifest, job.entry, rate_hz):
                times.append(frame.pts_seconds)
                result = stream.step(card.preprocess(frame.image))
                if result.valid[0]:
                    described.append(times[len(times) - 1 - delay])
                    rows.append(result.output[0].float().cpu().clone())
            if not rows:
                needed = stream.program.first_valid_step + 1
                raise EmptyVideoError(
                    f"{job.entry.video_id} has {len(times)} frames at {rate_hz:g}/s, and the layer "
                    f"needs {needed} to give anything; sample it faster, or leave it out"
                )
            yield VideoFeatures(job, tuple(described), tuple(described), torch.stack(rows))
        except BAD_VIDEO_ERRORS as error:
            yield _leave_out(job, error, strict=strict)


def _leave_out(job: Job, error: Exception, *, strict: bool) -> VideoFeatures:
    record = exclude(job, error, strict=strict)
    return VideoFeatures(job, (), (), torch.empty(0, 0), record.error)
