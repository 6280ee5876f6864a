"""Long camera paths: several named motions in sequence, without a cut."""

import torch
from torch import Generator, Tensor

from co3d.datasets.generated.motions import ANGLE, LOG_ZOOM, X, Y, draw_shake, draw_velocities
from co3d.datasets.generated.virtual_camera import CameraPath
from co3d.models.camera_motion import CAMERA_MOTIONS

SEGMENT_SECONDS = (3.0, 4.0)
EASING_SECONDS = 0.375  # at either end of a segment
# Largest change of log magnification within a segment; a path starts at half of it from 1.
FARTHEST_ZOOM = 0.9


def draw_journeys(
    count: int, frames: int, rate_hz: float, generator: Generator
) -> tuple[CameraPath, Tensor]:
    """Paths of random motions of 3 to 4 seconds each, with a camera that always shakes.

    Zooms return towards magnification 1, as far as the picture's resolution allows.

    Returns:
        The paths, and the label of each frame: (count, frames) int64.
    """
    velocities = torch.zeros(count, frames, 4)
    labels = torch.zeros(count, frames, dtype=torch.int64)
    starts = torch.zeros(count, 4)
    starts[:, LOG_ZOOM] = FARTHEST_ZOOM * (torch.rand(count, generator=generator).round() - 0.5)
    for row in range(count):
        start, label, zoom = 0, -1, float(starts[row, LOG_ZOOM])
        while start < frames:
            length = _draw_length(rate_hz, generator)
            label = _draw_next_label(label, zoom, generator)
            velocity = draw_velocities(torch.tensor([label]), generator)[0]
            farthest = FARTHEST_ZOOM * rate_hz / length
            velocity[LOG_ZOOM] = velocity[LOG_ZOOM].clamp(-farthest, farthest)
            end = min(start + length, frames)
            speeds = ease(length, EASING_SECONDS * rate_hz)[: end - start]
            velocities[row, start:end] = speeds[:, None] * velocity
            labels[row, start:end] = label
            zoom += float(velocities[row, start:end, LOG_ZOOM].sum()) / rate_hz
            start = end
    shake = draw_shake(count, torch.arange(frames) / rate_hz, generator)
    return follow(velocities, starts, rate_hz, shake), labels


def follow(
    velocities: Tensor, starts: Tensor, rate_hz: float, shake: Tensor | float = 0.0
) -> CameraPath:
    """Integrate velocities (N, T, 4) from poses (N, 4), on the camera's own axes.

    A rolled camera pans at an angle in the world, and one that has zoomed in moves less.
    `shake`, in the path's units, is added on the same axes.
    """
    steps = velocities / rate_hz
    log_zoom = starts[:, None, LOG_ZOOM] + steps[..., LOG_ZOOM].cumsum(1)
    angle = starts[:, None, ANGLE] + steps[..., ANGLE].cumsum(1)
    own = steps.cumsum(1) + shake
    first = own[:, :1]
    right, down = torch.cat((first, own.diff(dim=1)), 1)[..., [X, Y]].unbind(-1)
    scale = torch.exp(-log_zoom)
    x = scale * (angle.cos() * right - angle.sin() * down)
    y = scale * (angle.sin() * right + angle.cos() * down)
    return CameraPath(
        starts[:, None, X] + x.cumsum(1),
        starts[:, None, Y] + y.cumsum(1),
        own[..., LOG_ZOOM] + starts[:, None, LOG_ZOOM],
        own[..., ANGLE] + starts[:, None, ANGLE],
    )


def ease(frames: int, ramp_frames: float) -> Tensor:
    """Share of full speed in each frame of a segment, which eases in and out: (frames,), 0 to 1."""
    middle = torch.arange(frames) + 0.5
    nearest_end = torch.minimum(middle, frames - middle)
    ramp = (nearest_end / ramp_frames).clamp(max=1)
    return ramp * ramp * (3 - 2 * ramp)


def _draw_length(rate_hz: float, generator: Generator) -> int:
    low, high = (round(seconds * rate_hz) for seconds in SEGMENT_SECONDS)
    return int(torch.randint(low, high + 1, (), generator=generator))


def _draw_next_label(previous: int, zoom: float, generator: Generator) -> int:
    """A random motion, but not the previous one nor a zoom away from magnification 1."""
    away = "zoom in" if zoom > 0 else "zoom out"
    choices = [
        label for label, name in enumerate(CAMERA_MOTIONS) if label != previous and name != away
    ]
    return choices[int(torch.randint(len(choices), (), generator=generator))]
