"""Clip mode: the clip network on K × M views of each video.

K clips are spread evenly over the video's time, each with M squares along the longer side of the
picture: see `co3d.datasets.sampling` and `transforms`. The probabilities of the views are averaged
(Kinetics), or the maximum is taken per class (Charades' protocol).
"""

import re
from array import array
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from co3d.backends.table import PRECISIONS
from co3d.datasets.clips import Clip, read_clip
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform
from co3d.errors import OptionError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS, exclude
from co3d.evaluation.jobs import Job
from co3d.evaluation.localisation import match_moments
from co3d.evaluation.records import VideoRecord, pack
from co3d.models import ClipModel, ModelCard
from co3d.video.indexed_opening import open_indexed_video

CLIP = "clip"


def parse_views(text: str) -> tuple[int, int]:
    """Parse "10x3"; OptionError unless both are integers from 1 on."""
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text.strip())
    if match is None:
        raise OptionError(
            f"cannot evaluate views {text!r}: expected clips x squares, such as --views 10x3"
        )
    return int(match[1]), int(match[2])


def read_clips(
    manifest: Manifest, entry: VideoEntry, card: ModelCard, sampling: Sampling
) -> Iterator[Clip]:
    """The clips of a video, one per temporal view."""
    for view in range(sampling.views):
        yield read_clip(
            manifest.resolve(entry),
            frames=sampling.frames or card.clip_frames,
            rate_hz=sampling.rate_hz or card.rate_hz,
            sampling=sampling,
            view=view,
            start_seconds=entry.start_seconds,
            end_seconds=entry.end_seconds,
            folder_rate_hz=entry.rate_hz,
        )


class ClipEvaluator:
    """Runs a clip network on views of the videos of a manifest.

    Args:
        manifest: where the videos are.
        model: with its card; it is put into evaluation mode and into the given precision.
        sampling: which clips and squares of each video.
        precision, device: of the computation.
        strict: whether a bad video stops the run.

    Raises:
        OptionError: no such precision or device.
    """

    def __init__(
        self,
        manifest: Manifest,
        model: ClipModel,
        sampling: Sampling,
        *,
        precision: str = "float32",
        device: str = "cpu",
        strict: bool = False,
    ) -> None:
        self._manifest, self._card, self._sampling = manifest, model.card, sampling
        self._transform = TestTransform(model.card)
        self._strict = strict
        if precision not in PRECISIONS:
            raise OptionError(
                f"cannot run clips: got precision {precision!r}, expected one of "
                f"{', '.join(PRECISIONS)}"
            )
        self._dtype = PRECISIONS[precision]
        try:
            self._device = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise OptionError(
                f"cannot run clips on device {device!r}: {str(error).splitlines()[0]}; use 'cpu' "
                "or a device that torch sees"
            ) from error
        self._model = model.eval().to(self._device, self._dtype)

    def evaluate(self, jobs: Iterable[Job]) -> Iterator[VideoRecord]:
        """A record per video, in order.

        Raises:
            DataError: a bad video, in strict mode.
        """
        for job in jobs:
            try:
                yield self._evaluate_one(job)
            except BAD_VIDEO_ERRORS as error:
                yield exclude(job, error, strict=self._strict)

    def _evaluate_one(self, job: Job) -> VideoRecord:
        crops = [None] if self._sampling.crops == 1 else list(range(self._sampling.crops))
        rows, centres, frames = [], [], 0
        for clip in read_clips(self._manifest, job.entry, self._card, self._sampling):
            squares = [self._run(self._transform(clip.frames, crop)) for crop in crops]
            rows.append(self._join(torch.stack(squares)))
            centres.append(float(clip.pts_seconds[0] + clip.pts_seconds[-1]) / 2)
            frames += len(clip.frames)
        moments: tuple[array[float], ...] = ()
        moment_labels: tuple[tuple[int, ...], ...] = ()
        if self._manifest.multi_label and job.entry.segments:
            chosen, moment_labels = match_moments(job.entry, centres, self._read_times(job.entry))
            moments = tuple(pack(rows[index]) for index in chosen)
        return VideoRecord(
            index=job.index,
            video_id=job.entry.video_id,
            labels=job.entry.labels,
            scores={CLIP: pack(self._join(torch.stack(rows)))},
            moments=moments,
            moment_labels=moment_labels,
            frames=frames,
        )

    def _run(self, clip: Tensor) -> Tensor:
        """Probabilities of one view: (3, T, h, w) -> (K,)."""
        with torch.inference_mode():
            logits = self._model(clip[None].to(self._device, self._dtype))[0]
            return self._card.probabilities(logits.float()).cpu()

    def _join(self, rows: Tensor) -> Tensor:
        """(V, K) -> (K,): the mean, or the maximum for multi-label sets."""
        return rows.amax(0) if self._manifest.multi_label else rows.mean(0)

    def _read_times(self, entry: VideoEntry) -> list[float]:
        source = open_indexed_video(self._manifest.resolve(entry), entry.rate_hz)
        try:
            return source.times_seconds.tolist()
        finally:
            source.close()
