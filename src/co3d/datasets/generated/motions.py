"""Random camera paths: one named motion plus hand shake and drift."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from co3d.datasets.generated.virtual_camera import CameraPath
from co3d.models.camera_motion import CAMERA_MOTIONS

X, Y, LOG_ZOOM, ANGLE = range(4)


@dataclass(frozen=True)
class Speed:
    """Slowest and fastest speed of a named motion, and the fastest unnamed drift, per second.

    Units per second: frame widths for x and y, log magnification for zoom, radians for roll.
    """

    slowest: float
    fastest: float
    drift: float


# Axis of the path -> its speeds. The drift is at most a quarter of the slowest motion, so that a
# handheld camera counts as static, with a gap before "pan left" in which no label would be right.
SPEEDS = {
    X: Speed(0.2, 0.9, 0.05),
    Y: Speed(0.2, 0.9, 0.05),
    LOG_ZOOM: Speed(0.22, 0.9, 0.055),
    ANGLE: Speed(0.25, 1.3, 0.06),
}

# Label -> axis and sign of the motion.
DIRECTIONS = {
    "pan left": (X, -1),
    "pan right": (X, +1),
    "tilt up": (Y, -1),
    "tilt down": (Y, +1),
    "zoom in": (LOG_ZOOM, +1),
    "zoom out": (LOG_ZOOM, -1),
    "roll clockwise": (ANGLE, +1),
    "roll counter-clockwise": (ANGLE, -1),
}

SLOWEST_EASING = 0.4  # of full speed, at either end of a clip
SHAKE_TONES = 3
SHAKE_HZ = (0.8, 4.0)
# Root mean square of the strongest hand shake on each axis, in the path's units, at 1 Hz.
SHAKE = torch.tensor([0.03, 0.03, 0.012, 0.025])


def draw_velocities(labels: Tensor, generator: Generator) -> Tensor:
    """Mean velocity on each axis for clips of these labels: (N,) -> (N, 4), per second."""
    speeds = [SPEEDS[axis] for axis in range(4)]
    drift = torch.tensor([speed.drift for speed in speeds])
    velocities = (2 * torch.rand(len(labels), 4, generator=generator) - 1) * drift
    fractions = torch.rand(len(labels), generator=generator)
    for row, label in enumerate(labels.tolist()):
        if CAMERA_MOTIONS[label] == "static":
            continue
        axis, sign = DIRECTIONS[CAMERA_MOTIONS[label]]
        ratio = speeds[axis].fastest / speeds[axis].slowest
        velocities[row, axis] = sign * speeds[axis].slowest * ratio ** float(fractions[row])
    return velocities


def draw_shake(count: int, seconds: Tensor, generator: Generator) -> Tensor:
    """Hand shake on each axis at the given times: (T,) -> (count, T, 4) in the path's units.

    A sum of tones between 0.8 and 4 Hz whose amplitude falls with frequency; how much the hand
    shakes differs from clip to clip, down to a tripod.
    """
    shape = (count, 1, 4, SHAKE_TONES)
    low, high = SHAKE_HZ
    hertz = low * (high / low) ** torch.rand(shape, generator=generator)
    phase = 2 * math.pi * torch.rand(shape, generator=generator)
    tones = torch.sin(2 * math.pi * hertz * seconds.view(1, -1, 1, 1) + phase) / hertz
    strength = torch.rand(count, 1, 1, generator=generator)
    return tones.sum(-1) * (math.sqrt(2 / SHAKE_TONES) * strength * SHAKE)


def draw_paths(labels: Tensor, frames: int, rate_hz: float, generator: Generator) -> CameraPath:
    """One path a label, with random speed, easing, drift and shake; centred on the origin.

    Args:
        labels: (N,) int64, indices into `CAMERA_MOTIONS`.
        frames: T, the length of the clip.
        rate_hz: frames per second.
        generator: the only source of randomness.
    """
    count = len(labels)
    velocities = draw_velocities(labels, generator)
    ends = SLOWEST_EASING + (1 - SLOWEST_EASING) * torch.rand(count, 2, 1, generator=generator)
    ramp = torch.linspace(0, 1, frames)
    ramp = ramp * ramp * (3 - 2 * ramp)
    easing = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * ramp
    easing = easing / easing.mean(1, keepdim=True)
    travel = easing.cumsum(1) / rate_hz
    travel = travel - travel.mean(1, keepdim=True)
    poses = travel[..., None] * velocities[:, None]
    poses = poses + draw_shake(count, torch.arange(frames) / rate_hz, generator)
    return CameraPath(*poses.unbind(-1))
