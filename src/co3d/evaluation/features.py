"""A layer's features for the videos of a manifest: a row per clip, or per frame of a stream."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from co3d.datasets.manifest import Manifest
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform
from co3d.engine.step import TrackStep
from co3d.errors import EmptyVideoError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS, exclude
from co3d.evaluation.clip_mode import read_clips
from co3d.evaluation.frames import read_entry
from co3d.evaluation.jobs import Job
from co3d.evaluation.layer import LayerFeatures
from co3d.evaluation.playing import Session, VideoPlayer
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video.

    Attributes:
        job: the video.
        start_seconds, end_seconds: (R,) presentation times of the first and the last frame that a
            row describes; equal in stream mode.
        features: (R, C) float32; no rows if there is an error.
        error: why the video is left out; None if it is not.
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
    compiled: CompiledProgram,
    card: ModelCard,
    jobs: Iterable[Job],
    *,
    rate_hz: float,
    strict: bool = False,
) -> Iterator[VideoFeatures]:
    """A row per frame that the layer describes: all but the last `delay` frames of a video.

    Args:
        compiled: of the step program of a `LayerFeatures`.
        rate_hz: frames per second for the network.

    Raises:
        DataError: a bad video, in strict mode.
    """
    player = VideoPlayer(compiled, card)
    program = compiled.program

    threads = player.decoder_threads

    def open_session(job: Job) -> _Session:
        read = partial(read_entry, manifest, job.entry, rate_hz, decoder_threads=threads)
        return _Session(job, card, read, delay=program.delay)

    with closing(player.play(map(open_session, jobs))) as ended:
        for session, failure in ended:
            error = failure
            if error is None and not session.rows:
                needed = program.first_valid_step + 1
                error = EmptyVideoError(
                    f"{session.job.entry.video_id} has {len(session.times)} frames at "
                    f"{rate_hz:g}/s, and the layer needs {needed} to give anything; sample it "
                    "faster, or leave it out"
                )
            if error is None:
                times = tuple(session.described)
                yield VideoFeatures(session.job, times, times, torch.stack(session.rows))
            elif isinstance(error, BAD_VIDEO_ERRORS):
                yield _leave_out(session.job, error, strict=strict)
            else:
                raise error


class _Session(Session):
    """Times of a video's frames so far, and rows with their described times.

    Args:
        delay: of the program, in frames.
    """

    def __init__(self, *video: Any, delay: int) -> None:
        super().__init__(*video)
        self.times: list[float] = []
        self.described: list[float] = []
        self.rows: list[Tensor] = []
        self._delay = delay

    def keep(self, pts_seconds: float, step: TrackStep) -> None:
        self.times.append(pts_seconds)
        if step.valid:
            self.described.append(self.times[len(self.times) - 1 - self._delay])
            self.rows.append(step.output.float().clone())


def _leave_out(job: Job, error: Exception, *, strict: bool) -> VideoFeatures:
    record = exclude(job, error, strict=strict)
    return VideoFeatures(job, (), (), torch.empty(0, 0), record.error)
