"""Copies of a data set's videos that are fast to read: smaller, cut to length, in one format."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.errors import EmptyVideoError, OptionError
from co3d.files import make_folder, output_folder
from co3d.video import VideoReader, VideoWriter, read_video
from co3d.video.indexed import FOLDER_RATE_HZ

Form = Literal["video", "frames"]

FRAMES_BETWEEN_KEYS = 24
"""The most frames between key frames: a random clip costs at most so many frames more."""

JPEG_QUALITY = 95
ID_CHARACTERS = 8


@dataclass(frozen=True)
class Recipe:
    """The form of the copies.

    Attributes:
        form: "video": H.264 in .mp4, with the times of the original; "frames": a folder of JPEGs
            at a steady rate.
        short_side_px: larger pictures are scaled down to it; None keeps their size.
        rate_hz: frames per second to sample to; None keeps every frame of a video, and takes the
            mean rate for frames.

    Raises:
        OptionError: a value is invalid.
    """

    form: Form = "video"
    short_side_px: int | None = None
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        if self.short_side_px is not None and self.short_side_px < 2:
            raise OptionError(f"cannot scale to {self.short_side_px} pixels: choose 2 or more")
        if self.rate_hz is not None and not 0 < self.rate_hz < float("inf"):
            raise OptionError(f"cannot sample at {self.rate_hz} frames/s: choose a rate above 0")


def plan_copies(manifest: Manifest, output: Path, form: Form) -> Manifest:
    """The manifest of the copies, which have the originals' relative paths in `output`.

    A part of a longer file becomes a separate file, and its segments count from its start.
    """
    taken: set[str] = set()
    entries = []
    for entry in manifest.entries:
        pure = PurePosixPath(entry.path)
        is_cut = entry.start_seconds is not None or entry.end_seconds is not None
        stem = pure.name if manifest.resolve(entry).is_dir() else pure.stem
        suffix = ".mp4" if form == "video" else ""
        path = (pure.parent / f"{stem}{suffix}").as_posix()
        if is_cut or path in taken:  # another part, or a.mp4 beside a.mkv
            code = hashlib.blake2b(os.fsencode(f"{entry.path} {entry.video_id}")).hexdigest()
            path = (pure.parent / f"{stem}-{code[:ID_CHARACTERS]}{suffix}").as_posix()
        taken.add(path)
        start = entry.start_seconds or 0.0
        segments = tuple(
            Segment(s.label, max(s.start_seconds - start, 0.0), s.end_seconds - start)
            for s in entry.segments
            if s.end_seconds > start
        )
        entries.append(
            replace(
                entry,
                path=path,
                start_seconds=None,
                end_seconds=None,
                segments=segments,
                rate_hz=None,
            )
        )
    return replace(manifest, root=output, entries=tuple(entries))


def copy_video(source: Path, entry: VideoEntry, target: Path, recipe: Recipe) -> float:
    """Write the copy of one video, completely or not at all; an existing copy is kept.

    Args:
        source: the original, a file or a folder of frames.
        entry: of the original; says which part, and the rate of a folder.
        target: where the copy goes.
        recipe: the format of the copy.

    Returns:
        Frames per second of the copy: exact for frames, nominal for a video.

    Raises:
        Whatever `read_video` raises: a damaged video has no copy.
        OutputError: the copy cannot be written.
    """
    with read_video(source, folder_rate_hz=entry.rate_hz or FOLDER_RATE_HZ) as reader:
        mean_hz = reader.source_rate_hz or FOLDER_RATE_HZ
    rate_hz = recipe.rate_hz or (mean_hz if recipe.form == "frames" else None)
    if target.exists():
        return rate_hz or mean_hz
    make_folder(target.parent)
    with read_video(
        source, rate_hz=rate_hz, folder_rate_hz=entry.rate_hz or FOLDER_RATE_HZ
    ) as reader:
        frames = _scale(_cut(reader, entry, str(source)), recipe.short_side_px)
        if recipe.form == "frames":
            _write_pictures(frames, target)
        else:
            _write_video(frames, target, rate_hz or mean_hz)
    return rate_hz or mean_hz


def _cut(reader: VideoReader, entry: VideoEntry, name: str) -> Iterator[tuple[np.ndarray, float]]:
    """Pictures of an entry's part, with evenly spaced times even if sampling repeats a frame."""
    step = 1 / reader.rate_hz if reader.rate_hz else None
    start, end = entry.start_seconds or 0.0, entry.end_seconds
    zero = seconds = 0.0
    for number, frame in enumerate(reader):
        zero = frame.pts_seconds if number == 0 else zero
        seconds = number * step if step else frame.pts_seconds - zero
        if seconds >= start and (end is None or seconds < end):
            yield frame.image, seconds - start
    if start > seconds:
        raise EmptyVideoError(f"cannot copy {name}: got {seconds:.2f} s, expected {start:.2f} s")


def _scale(
    frames: Iterator[tuple[np.ndarray, float]], short_side_px: int | None
) -> Iterator[tuple[np.ndarray, float]]:
    for image, seconds in frames:
        factor = (short_side_px or np.inf) / min(image.shape[:2])
        if factor >= 1:
            yield image, seconds
            continue
        size = [round(side * factor) for side in image.shape[:2]]
        planes = torch.from_numpy(image).permute(2, 0, 1)[None]
        small = F.interpolate(planes, size=size, mode="bilinear", antialias=True)
        yield small[0].permute(1, 2, 0).contiguous().numpy(), seconds


def _write_video(frames: Iterator[tuple[np.ndarray, float]], target: Path, rate_hz: float) -> None:
    with VideoWriter(target, rate_hz, FRAMES_BETWEEN_KEYS, outlives_kill=False) as writer:
        for image, seconds in frames:
            writer.write(image, seconds)


def _write_pictures(frames: Iterator[tuple[np.ndarray, float]], target: Path) -> None:
    with output_folder(target) as folder:
        for number, (image, _) in enumerate(frames, 1):
            Image.fromarray(image).save(folder / f"{number:06d}.jpg", quality=JPEG_QUALITY)
