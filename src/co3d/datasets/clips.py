"""Clips of the videos of a manifest, and records of videos that could not be read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.sampling import Sampling, choose_indices
from co3d.datasets.transforms import ClipTransform, TestTransform
from co3d.errors import Co3dError, DataError, EmptyVideoError, OptionError
from co3d.forks import protect_forks
from co3d.models.card import ModelCard
from co3d.video.indexed import IndexedVideo
from co3d.video.indexed_opening import open_indexed_video
from co3d.video.sampling import TOLERANCE_SECONDS

NO_LABEL = -1

protect_forks()  # many systems fork the workers of a DataLoader


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures of a clip.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB, upright.
        pts_seconds: (T,) when each is shown, as the container says.
    """

    frames: np.ndarray
    pts_seconds: np.ndarray


@dataclass(frozen=True)
class BrokenVideo:
    """A video from which no clip could be read.

    Attributes:
        video_id, path: of its entry.
        reason: the message of the error.
    """

    video_id: str
    path: str
    reason: str


def read_clip(
    path: Path,
    *,
    frames: int,
    rate_hz: float,
    sampling: Sampling | None = None,
    view: int = 0,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    folder_rate_hz: float | None = None,
    threads: int = 0,
    generator: Generator | None = None,
) -> Clip:
    """Read one clip of a video file or a folder of frames.

    Args:
        path: of either.
        frames: T, frames per clip.
        rate_hz: frames per second of the clip.
        sampling: which clip; None takes the middle, by time.
        view: which of the temporal views.
        start_seconds, end_seconds: the part of the video to use, from its first frame on.
        folder_rate_hz: of a folder of frames; None takes 30.
        threads: of the decoder; 0 takes one per core.
        generator: for random clips; None takes torch's own.

    Raises:
        SourceNotFoundError, NotAVideoError, NoVideoStreamError, EmptyVideoError: it is no video,
            or has no frame in that part.
        DamagedVideoError: the clip, or the end of the video, does not decode.
    """
    source = open_indexed_video(path, folder_rate_hz, threads)
    try:
        part = select_part(path, source, start_seconds, end_seconds)
        times = source.times_seconds[part]
        indices = choose_indices(
            times, sampling or Sampling(), frames, rate_hz, view, generator, source.rate_hz
        )
        return Clip(source.read((indices + part.start).tolist()), times[indices])
    finally:
        source.close()


class VideoClips(Dataset[dict[str, Any]]):
    """Clips of a manifest's videos, one item per video, temporal view and crop, in this order.

    An item is a dict of `clip` (3, T, side, side) float32, `label` (int64, -1 when unknown; for
    multi-label sets (K,) float32 of 0 and 1), `video_id` and `view` (temporal view x crops + crop).
    Random clips of multi-label sets have the labels of their own time, others those of the video.

    A video that cannot be read is never replaced by another: its item has `broken`, a
    `BrokenVideo`, in place of `clip` and `label`. Pass `collate_clips` to the DataLoader, which
    separates them.

    A worker keeps only its last file open.

    Args:
        manifest: the videos.
        card: of the network; says frames, rate and pixels where `sampling` does not.
        sampling: which clips.
        transform: None takes the network's own, without augmentation.
        strict: raise DataError for a video that cannot be read.
    """

    def __init__(
        self,
        manifest: Manifest,
        card: ModelCard,
        sampling: Sampling | None = None,
        transform: ClipTransform | None = None,
        strict: bool = False,
    ) -> None:
        self.manifest = manifest
        self.sampling = sampling or Sampling()
        self.strict = strict
        self._frames = self.sampling.frames or card.clip_frames
        self._rate_hz = self.sampling.rate_hz or card.rate_hz
        self._transform = transform or TestTransform(card)
        self._opened: tuple[int, int, IndexedVideo] | None = None  # process, entry, source
        self._last: tuple[int, int, Clip] | None = None  # entry, temporal view, clip

    @property
    def views(self) -> int:
        """Items of each video: temporal views times crops."""
        return self.sampling.views * self.sampling.crops

    def __len__(self) -> int:
        return len(self.manifest.entries) * self.views

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, view = divmod(index, self.views)
        entry = self.manifest.entries[number]
        moment, crop = divmod(view, self.sampling.crops)
        item: dict[str, Any] = {"video_id": entry.video_id, "view": view}
        try:
            clip = self._read(number, entry, moment)
        except Co3dError as error:
            self._forget()
            if self.strict:
                raise DataError(
                    f"cannot use the video {entry.video_id}: {error}; run `co3d data doctor` and "
                    "use its clean manifest, or go without strict mode"
                ) from error
            item["broken"] = BrokenVideo(entry.video_id, entry.path, str(error))
            return item
        item["clip"] = self._transform(clip.frames, crop if self.sampling.crops > 1 else None)
        item["label"] = self._label(entry, clip)
        return item

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_last": None}

    def _read(self, number: int, entry: VideoEntry, moment: int) -> Clip:
        """The clip of a temporal view; its crops share it."""
        is_random = self.sampling.kind == "random"
        if self._last and self._last[:2] == (number, moment) and not is_random:
            return self._last[2]
        path = self.manifest.resolve(entry)
        source = self._open(number, entry, path)
        part = select_part(path, source, entry.start_seconds, entry.end_seconds)
        times = source.times_seconds[part]
        indices = choose_indices(
            times, self.sampling, self._frames, self._rate_hz, moment, source_rate_hz=source.rate_hz
        )
        clip = Clip(source.read((indices + part.start).tolist()), times[indices])
        self._last = (number, moment, clip)
        return clip

    def _open(self, number: int, entry: VideoEntry, path: Path) -> IndexedVideo:
        if self._opened and self._opened[:2] == (os.getpid(), number):
            return self._opened[2]
        self._forget()
        # Workers share the cores among themselves.
        source = open_indexed_video(path, entry.rate_hz, threads=1 if get_worker_info() else 0)
        self._opened = (os.getpid(), number, source)
        return source

    def _forget(self) -> None:
        if self._opened and self._opened[0] == os.getpid():
            self._opened[2].close()
        self._opened = self._last = None

    def _label(self, entry: VideoEntry, clip: Clip) -> Tensor:
        if not self.manifest.multi_label:
            return torch.tensor(entry.labels[0] if entry.labels else NO_LABEL)
        labels: Sequence[int] = entry.labels
        if self.sampling.kind == "random" and entry.segments and self._opened:
            zero = self._opened[2].times_seconds[0]
            start, end = clip.pts_seconds[0] - zero, clip.pts_seconds[-1] - zero
            labels = [
                segment.label
                for segment in entry.segments
                if segment.start_seconds <= end and segment.end_seconds > start
            ]
        target = torch.zeros(len(self.manifest.class_names))
        target[list(labels)] = 1
        return target


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of the items of `VideoClips`.

    Returns:
        `clip`, `label`, `view` stacked and `video_id` as a list, of the videos that could be read;
        `broken`, a list of the `BrokenVideo`s. When all are broken, there is nothing but that list.

    Raises:
        OptionError: clips of "whole" videos differ in length.
    """
    broken = [item["broken"] for item in items if "broken" in item]
    whole = [item for item in items if "broken" not in item]
    if len({item["clip"].shape for item in whole}) > 1:
        raise OptionError("cannot stack clips of several lengths: take batches of one video")
    return {**(default_collate(whole) if whole else {}), "broken": broken}


def select_part(
    path: Path, source: IndexedVideo, start_seconds: float | None, end_seconds: float | None
) -> slice:
    """The frames of a trimmed part, by their times from the first frame on."""
    times = source.times_seconds - source.times_seconds[0]
    first, last = 0, len(times)
    if start_seconds is not None:
        first = int(np.searchsorted(times, start_seconds - TOLERANCE_SECONDS))
    if end_seconds is not None:
        last = int(np.searchsorted(times, end_seconds - TOLERANCE_SECONDS))
    if first >= last:
        raise EmptyVideoError(
            f"cannot read {path} from {start_seconds} to {end_seconds} s: its last frame is shown "
            f"at {times[-1]:.2f} s; correct the times, or fetch it again"
        )
    return slice(first, last)
