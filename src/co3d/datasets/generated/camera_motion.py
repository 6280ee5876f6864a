"""Clips of a virtual camera in motion, with the motion's name; made on the fly from a seed."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from co3d.datasets.generated import effects
from co3d.datasets.generated.journeys import draw_journeys
from co3d.datasets.generated.motions import draw_paths
from co3d.datasets.generated.virtual_camera import CameraPath, render
from co3d.models.camera_motion import CAMERA_MOTION_CARD, CAMERA_MOTIONS

FRAME_PX = CAMERA_MOTION_CARD.crop_px
RATE_HZ = CAMERA_MOTION_CARD.rate_hz
CLIP_FRAMES = CAMERA_MOTION_CARD.clip_frames
VIEW_PX = (56.0, 110.0)  # pixels of a canvas that a frame spans: from detailed to plain views
PLACES = 4
SHARE_WITH_FOREGROUND = 0.6
SHARE_WITH_SECOND_FOREGROUND = 0.25
SHARE_WITH_SWAY = 0.5
SHARE_WITH_BLUR = 0.5
SHARE_WITH_NOISE = 0.5

# Label -> label of the same clip played backwards.
REVERSED = torch.tensor([0, 2, 1, 4, 3, 6, 5, 8, 7])


@dataclass(frozen=True)
class ClipBatch:
    """Clips (N, 3, T, FRAME_PX, FRAME_PX) float32, normalised for the network; labels (N,)."""

    clips: Tensor
    labels: Tensor


def normalise(clips: Tensor) -> Tensor:
    """Clamp clips to [0, 1] and apply the model card's mean and standard deviation."""
    mean = torch.tensor(CAMERA_MOTION_CARD.mean).view(1, 3, 1, 1, 1)
    std = torch.tensor(CAMERA_MOTION_CARD.std).view(1, 3, 1, 1, 1)
    return (clips.clamp(0, 1) - mean) / std


def draw_labels(count: int, generator: Generator) -> Tensor:
    """Labels in random order, each motion as often as any other, give or take one."""
    classes = len(CAMERA_MOTIONS)
    order = torch.randperm(classes, generator=generator).repeat(-(-count // classes))[:count]
    return order[torch.randperm(count, generator=generator)]


def draw_clips(
    canvases: Tensor, count: int, generator: Generator, frames: int = CLIP_FRAMES
) -> ClipBatch:
    """Film `count` clips of `frames` frames over random canvases (M, 3, S, S) uint8."""
    labels = draw_labels(count, generator)
    return ClipBatch(
        film(canvases, draw_paths(labels, frames, RATE_HZ, generator), generator), labels
    )


def film(canvases: Tensor, path: CameraPath, generator: Generator) -> Tensor:
    """Move cameras along paths over random canvases, and add effects of real film.

    Args:
        canvases: (M, 3, S, S) uint8, the pictures to choose from.
        path: N cameras, T frames.
        generator: the only source of randomness.

    Returns:
        (N, 3, T, FRAME_PX, FRAME_PX) float32, normalised.
    """
    count = len(path.x)
    points = path.view_points(FRAME_PX, FRAME_PX)
    backgrounds = _pick(canvases, count, generator)
    view_px = effects.uniform((count,), *VIEW_PX, generator)
    points = _place(points, backgrounds, view_px, generator)
    swaying = _choose(count, SHARE_WITH_SWAY, generator)
    points[swaying] = effects.sway(points[swaying], RATE_HZ, generator)
    clips = render(backgrounds, points, view_px)
    for share in (SHARE_WITH_FOREGROUND, SHARE_WITH_SECOND_FOREGROUND):
        rows = _choose(count, share, generator)
        textures = _pick(canvases, len(rows), generator)
        clips[rows] = effects.add_foreground(
            clips[rows], points[rows], textures, RATE_HZ, generator
        )
    for effect, share in ((effects.blur, SHARE_WITH_BLUR), (effects.add_noise, SHARE_WITH_NOISE)):
        rows = _choose(count, share, generator)
        clips[rows] = effect(clips[rows], generator)
    clips = effects.recolour(clips, generator)
    return normalise(effects.change_exposure(clips, generator))


def add_reversed(batch: ClipBatch) -> ClipBatch:
    """Append each clip played backwards, with the opposite label.

    Pairs with the same content and opposite labels teach direction fastest, and cost nothing.
    """
    return ClipBatch(
        torch.cat((batch.clips, batch.clips.flip(2))),
        torch.cat((batch.labels, REVERSED[batch.labels])),
    )


class CameraMotionClips:
    """Training batches of clips, each the same for the same seed.

    Half of the clips in a batch are the other half played backwards.

    Args:
        canvases: (M, 3, S, S) uint8.
        batches: per epoch.
        frames_per_batch: frames in a batch, whatever the clips' length T; it holds about
            frames_per_batch / T clips.
        clip_lengths: the lengths T to draw from, one a batch.
    """

    def __init__(
        self,
        canvases: Tensor,
        batches: int,
        frames_per_batch: int,
        clip_lengths: tuple[int, ...],
    ) -> None:
        self.canvases = canvases
        self.batches = batches
        self.frames_per_batch = frames_per_batch
        self.clip_lengths = clip_lengths

    def __len__(self) -> int:
        return self.batches

    def draw(self, seed: int) -> ClipBatch:
        """One batch."""
        generator = torch.Generator().manual_seed(seed)
        choice = int(torch.randint(len(self.clip_lengths), (), generator=generator))
        frames = self.clip_lengths[choice]
        count = max(1, round(self.frames_per_batch / frames / 2))
        return add_reversed(draw_clips(self.canvases, count, generator, frames))


def draw_streams(canvases: Tensor, count: int, generator: Generator, frames: int) -> ClipBatch:
    """Film journeys of `frames` frames through changing motions; labels (N, T), one a frame."""
    path, labels = draw_journeys(count, frames, RATE_HZ, generator)
    return ClipBatch(film(canvases, path, generator), labels)


def _place(points: Tensor, canvases: Tensor, view_px: Tensor, generator: Generator) -> Tensor:
    """Place cameras on their canvases at any angle, at the most detailed of several places."""
    count = len(points)
    angle = effects.uniform((count, 1, 1, 1), 0, 2 * torch.pi, generator)
    mirror = torch.where(torch.rand((count, 1, 1, 1), generator=generator) < 0.5, 1.0, -1.0)
    x, y = points.unbind(-1)
    turned = (mirror * (angle.cos() * x - angle.sin() * y), angle.sin() * x + angle.cos() * y)
    points = torch.stack(turned, -1)
    offsets = effects.uniform((PLACES, count, 1, 1, 1, 2), -1, 1, generator)
    middle = points.shape[1] // 2
    glances = points[:, middle : middle + 1, ::4, ::4]
    detail = torch.stack(
        [_detail(render(canvases, glances + offset, view_px)) for offset in offsets]
    )
    return points + offsets[detail.argmax(0), torch.arange(count)]


def _detail(views: Tensor) -> Tensor:
    """Amount of detail along both axes: (N, C, T, h, w) -> (N,)."""
    grey = views.mean((1, 2))
    return torch.minimum(grey.diff(dim=1).abs().mean((1, 2)), grey.diff(dim=2).abs().mean((1, 2)))


def _choose(count: int, share: float, generator: Generator) -> Tensor:
    """Indices of a random share of the clips, rounded up."""
    return torch.randperm(count, generator=generator)[: math.ceil(share * count)]


def _pick(canvases: Tensor, count: int, generator: Generator) -> Tensor:
    return canvases[torch.randint(len(canvases), (count,), generator=generator)].float().div_(255)
