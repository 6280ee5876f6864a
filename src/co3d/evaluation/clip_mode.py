"""Clip mode: the clip network on K × M views of each video.

K clips lie evenly over the video's time, the first at its start and the last at its end; a single
one lies in the middle. Of each, M squares lie evenly along the longer side of the picture; a single
one is the model card's centre crop. The views' probabilities are averaged (Kinetics), or the
largest is taken of each class (Charades' protocol).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from co3d.backends.select import PRECISIONS
from co3d.datasets.manifest import Manifest
from co3d.errors import OptionError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS, exclude
from co3d.evaluation.frames import read_entry
from co3d.evaluation.jobs import Job
from co3d.evaluation.localisation import judge_moments
from co3d.evaluation.records import VideoRecord, shorten
from co3d.models import ClipModel, ModelCard

CLIP = "clip"


@dataclass(frozen=True)
class Views:
    """How many clips of a video are seen: `temporal` in time, `spatial` squares of each."""

    temporal: int = 1
    spatial: int = 1

    @classmethod
    def parse(cls, text: str) -> "Views":
        """Read "10x3"; OptionError for anything else than two whole numbers from 1 on."""
        match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text.strip())
        if match is None:
            raise OptionError(
                f"cannot evaluate views {text!r}: expected clips x squares, such as --views 10x3"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.temporal}x{self.spatial}"


class ClipEvaluator:
    """Runs a clip network on views of the videos of a manifest.

    Args:
        manifest: where the videos are.
        model: with its card; it is put into evaluation mode and the precision asked for.
        views: per video.
        rate_hz: frames per second of the clips.
        clip_frames: their length; None takes the card's.
        precision, device: of the computation.
        strict: whether a bad video stops the run.
    """

    def __init__(
        self,
        manifest: Manifest,
        model: ClipModel,
        *,
        views: Views,
        rate_hz: float,
        clip_frames: int | None = None,
        precision: str = "float32",
        device: str = "cpu",
        strict: bool = False,
    ) -> None:
        self._manifest, self._card, self._views = manifest, model.card, views
        self._rate_hz, self._strict = rate_hz, strict
        self._clip_frames = clip_frames or model.card.clip_frames
        self._dtype, self._device = PRECISIONS[precision], torch.device(device)
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
        pixels, times = [], []
        for frame in read_entry(self._manifest, job.entry, self._rate_hz):
            pixels.append(preprocess_views(self._card, frame.image, self._views.spatial))
            times.append(frame.pts_seconds)
        rows, centres = [], []
        for indices in spread_clips(len(pixels), self._clip_frames, self._views.temporal):
            clips = torch.stack([pixels[index] for index in indices], dim=2)
            rows.append(self._join(self._run(clips)))
            centres.append((times[indices[0]] + times[indices[-1]]) / 2)
        moments: tuple[tuple[float, ...], ...] = ()
        moment_labels: tuple[tuple[int, ...], ...] = ()
        if self._manifest.multi_label and job.entry.segments:
            chosen, moment_labels = judge_moments(job.entry, centres, times, 1 / self._rate_hz)
            moments = tuple(shorten(rows[index]) for index in chosen)
        return VideoRecord(
            index=job.index,
            video_id=job.entry.video_id,
            labels=job.entry.labels,
            scores={CLIP: shorten(self._join(torch.stack(rows)))},
            moments=moments,
            moment_labels=moment_labels,
            frames=len(pixels),
        )

    def _run(self, clips: Tensor) -> Tensor:
        """Probabilities of clips, one at a time: (M, 3, T, H, W) -> (M, K)."""
        with torch.inference_mode():
            logits = [self._model(clip[None].to(self._device, self._dtype)) for clip in clips]
            return self._card.probabilities(torch.cat(logits).float()).cpu()

    def _join(self, rows: Tensor) -> Tensor:
        """(V, K) -> (K,): the mean, or of several labels the largest."""
        return rows.amax(0) if self._manifest.multi_label else rows.mean(0)


def spread_clips(frames: int, clip_frames: int, count: int) -> list[list[int]]:
    """Frame indices of `count` clips of a video; where it is too short, its last frame repeats."""
    slack = max(0, frames - clip_frames)
    starts = [slack / 2] if count == 1 else np.linspace(0, slack, count).tolist()
    return [
        [min(int(start) + offset, frames - 1) for offset in range(clip_frames)] for start in starts
    ]


def preprocess_views(card: ModelCard, image: np.ndarray, count: int) -> Tensor:
    """Picture (H, W, 3) -> `count` squares (count, 3, crop_px, crop_px) along its longer side.

    Several are as large as the picture's shorter side allows, from one end to the other.
    """
    if count == 1:
        return card.preprocess(image)
    height, width = image.shape[:2]
    side = min(height, width)
    squares = []
    for place in np.linspace(0, max(height, width) - side, count).round().astype(int):
        top, left = (place, 0) if height > width else (0, place)
        squares.append(card.preprocess(image[top : top + side, left : left + side]))
    return torch.cat(squares)
