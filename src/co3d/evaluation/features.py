"""Features of a layer for the videos of a manifest: a row per clip, or per frame of a stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

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
from co3d.runtime.playing import Played


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
        stream: open, of the step program of a `LayerFeatures`.
        rate_hz: frames per second that the stream is shown.

    Raises:
        DataError: a bad video, in strict mode.
    """
    shown = ((job, partial(_show, manifest, job, card, rate_hz)) for job in jobs)
    seen: dict[int, _Seen] = {}
    for event in stream.play(shown):
        job = event.video
        found = seen.setdefault(job.index, _Seen())
        if isinstance(event, Played):
            assert event.tag is not None
            found.times.append(event.tag)
            if event.valid:
                found.described.append(found.times[len(found.times) - 1 - stream.program.delay])
                found.rows.append(event.output.float().cpu().clone())
            continue
        del seen[job.index]
        error = event.error
        if error is None and not found.rows:
            needed = stream.program.first_valid_step + 1
            error = EmptyVideoError(
                f"{job.entry.video_id} has {len(found.times)} frames at {rate_hz:g}/s, and the "
                f"layer needs {needed} to give anything; sample it faster, or leave it out"
            )
        if error is not None:
            if not isinstance(error, BAD_VIDEO_ERRORS):
                raise error
            yield _leave_out(job, error, strict=strict)
            continue
        times = tuple(found.described)
        yield VideoFeatures(job, times, times, torch.stack(found.rows))


@dataclass
class _Seen:
    """Times of a video's frames so far, and rows with the times that they describe."""

    times: list[float] = field(default_factory=list)
    described: list[float] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)


def _show(
    manifest: Manifest, job: Job, card: ModelCard, rate_hz: float
) -> Iterator[tuple[Tensor, float]]:
    for frame in read_entry(manifest, job.entry, rate_hz):
        yield card.preprocess(frame.image), frame.pts_seconds


def _leave_out(job: Job, error: Exception, *, strict: bool) -> VideoFeatures:
    record = exclude(job, error, strict=strict)
    return VideoFeatures(job, (), (), torch.empty(0, 0), record.error)
