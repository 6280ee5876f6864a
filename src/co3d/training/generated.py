"""The generated training data of the camera-motion network."""

from typing import Any

import torch

from co3d.datasets.generated.camera_motion import (
    CLIP_FRAMES,
    CameraMotionClips,
    ClipBatch,
    draw_clips,
    draw_streams,
)
from co3d.datasets.generated.canvas_cache import read_or_build_canvases
from co3d.models.camera_motion import CAMERA_MOTIONS, CameraMotionNet
from co3d.training.batches import Key, TrainingData
from co3d.training.recipe import CameraMotionData, StreamForm

VALIDATION_BATCH = 48
# Long enough for a card's length of frames whose receptive field holds no padding.
SETTLED_FRAMES = CLIP_FRAMES + 2 * CameraMotionNet.delay


class _DrawnClips:
    """Batches drawn by seed."""

    def __init__(self, clips: CameraMotionClips) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        return _as_dict(self._clips.draw(key.seed))


class _DrawnStreams:
    """Batches of long camera paths drawn by seed."""

    def __init__(self, canvases: torch.Tensor, batches: int, streams: int, frames: int) -> None:
        self._canvases = canvases
        self._batches, self._streams, self._frames = batches, streams, frames

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, key: Key) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(key.seed)
        return _as_dict(draw_streams(self._canvases, self._streams, generator, self._frames))


class FixedBatches:
    """Batches of clips that are the same in every epoch."""

    def __init__(self, clips: ClipBatch, batch: int) -> None:
        parts = zip(clips.clips.split(batch), clips.labels.split(batch), strict=True)
        self._batches = [ClipBatch(*part) for part in parts]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        return _as_dict(self._batches[key.index])


def make_generated_data(
    section: CameraMotionData, form_kind: str, form: StreamForm | None, seed: int
) -> TrainingData:
    """Clips for the forms "clip" and "settled", long paths with a label per frame for "stream"."""
    amounts = (seed, section.crops_per_photograph, section.textures_per_kind)
    train, validation = (
        read_or_build_canvases(split, *amounts) for split in ("train", "validation")
    )
    generator = torch.Generator().manual_seed(seed)
    if form is not None:
        # An epoch has this many chunks, because steps_per_epoch counts steps of the optimiser.
        videos = max(1, section.steps_per_epoch * form.chunk_frames // form.video_frames)
        count = max(1, section.validation_clips // form.video_frames)
        fixed = draw_streams(validation, count, generator, form.video_frames)
        return TrainingData(
            CAMERA_MOTIONS,
            _DrawnStreams(train, videos, form.streams, form.video_frames),
            {"stream": FixedBatches(fixed, form.streams)},
            batch=None,
            workers=section.workers,
        )
    drawn = CameraMotionClips(
        train, section.steps_per_epoch, section.frames_per_batch, section.clip_lengths
    )
    lengths = {"clip": CLIP_FRAMES}
    if form_kind == "settled":
        lengths["settled"] = SETTLED_FRAMES
    return TrainingData(
        CAMERA_MOTIONS,
        _DrawnClips(drawn),
        {
            name: FixedBatches(
                draw_clips(
                    validation,
                    section.validation_clips,
                    torch.Generator().manual_seed(seed),
                    frames,
                ),
                VALIDATION_BATCH,
            )
            for name, frames in lengths.items()
        },
        batch=None,
        workers=section.workers,
    )


def _as_dict(batch: ClipBatch) -> dict[str, Any]:
    return {"clip": batch.clips, "label": batch.labels}
