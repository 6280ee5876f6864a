"""Effects on filmed clips: moving objects, lens, light and sensor."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from co3d.datasets.generated.virtual_camera import render

LARGEST_RADIUS = 0.45  # of a moving blob, in frame widths; a larger one would hide the scene


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Uniform random numbers between low and high."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def sway(points: Tensor, rate_hz: float, generator: Generator) -> Tensor:
    """Let parts of the scene move back and forth, as people and leaves do.

    Args:
        points: (N, T, h, w, 2) world points, in frame widths.
    """
    count, frames, height, width, _ = points.shape
    seconds = torch.arange(frames).view(1, 1, frames, 1, 1) / rate_hz
    hertz = uniform((count, 2, 1, 1, 1), 0.3, 2.5, generator)
    phase = uniform((count, 2, 1, 4, 4), 0, 2 * math.pi, generator)
    reach = 0.04 * torch.rand((count, 1, 1, 1, 1), generator=generator) / hertz
    field = reach * torch.randn((count, 2, 1, 4, 4), generator=generator)
    field = field * torch.sin(2 * math.pi * hertz * seconds + phase)
    field = field.transpose(1, 2).flatten(0, 1)
    field = F.interpolate(field, (height, width), mode="bicubic", align_corners=False)
    return points + field.view(count, frames, 2, height, width).permute(0, 1, 3, 4, 2)


def add_foreground(
    clips: Tensor, points: Tensor, textures: Tensor, rate_hz: float, generator: Generator
) -> Tensor:
    """Let one textured blob move through each clip, fixed in the scene or in the frame.

    Args:
        clips: (N, 3, T, h, w).
        points: (N, T, h, w, 2) world points that the clips show, in frame widths.
        textures: (N, 3, S, S) pictures of the blobs.
    """
    count, _, frames, _height, _width = clips.shape
    seconds = (torch.arange(frames) / rate_hz).view(1, frames, 1, 1)

    def draw(low: float, high: float) -> Tensor:
        return uniform((count, 1, 1, 1), low, high, generator)

    # A fifth of the blobs keep their place in the frame, like captions, dashboards, follow shots.
    follows = draw(0, 1) < 0.2
    still = points[:, :1].mean((2, 3), keepdim=True) + points.new_zeros(1)
    frame_points = points[:, frames // 2 : frames // 2 + 1] - still
    local = torch.where(follows[..., None], frame_points, points - still)
    meeting = seconds - draw(0, float(seconds.max()))  # seconds since the blob was at its place
    heading, speed = draw(0, 2 * math.pi), draw(0, 1) ** 2 * (~follows)
    x = local[..., 0] - draw(-0.5, 0.5) - speed * heading.cos() * meeting
    y = local[..., 1] - draw(-0.5, 0.5) - speed * heading.sin() * meeting
    turn = draw(0, 2 * math.pi) + draw(-1.2, 1.2) * (~follows) * meeting
    nearing = draw(-0.8, 0.8) * (~follows) * meeting
    radius = (draw(0.08, 0.4) * torch.exp(nearing)).clamp(0.04, LARGEST_RADIUS)
    u = (turn.cos() * x + turn.sin() * y) / radius
    v = (turn.cos() * y - turn.sin() * x) / (radius * draw(0.4, 1))
    lobes = 1 + draw(0, 0.4) * torch.sin(draw(2, 6).round() * torch.atan2(v, u) + draw(0, 6.3))
    edge = draw(4, 25)
    alpha = torch.sigmoid(edge * (lobes - torch.hypot(u, v)))[:, None]
    blob = render(textures, torch.stack((u, v), -1), uniform((count,), 20, 70, generator))
    return clips * (1 - alpha) + blob * alpha


def blur(clips: Tensor, generator: Generator) -> Tensor:
    """Blur each clip by a 3 × 3 binomial filter of random strength."""
    count, _, frames, height, width = clips.shape
    side = uniform((count, 1), 0.02, 0.33, generator)
    taps = torch.cat((side, 1 - 2 * side, side), 1)
    rows = clips.reshape(1, count, 3 * frames, height, width)
    rows = F.pad(rows, (1, 1, 1, 1, 0, 0), mode="replicate")
    rows = F.conv3d(rows, taps.view(count, 1, 1, 3, 1), groups=count)
    rows = F.conv3d(rows, taps.view(count, 1, 1, 1, 3), groups=count)
    return rows.view_as(clips)


def recolour(clips: Tensor, generator: Generator) -> Tensor:
    """Change saturation, tint, gain and contrast curve of each clip; darken some like night."""
    count = len(clips)
    keep = uniform((count, 1, 1), 0, 1.5, generator)
    colours = keep * torch.eye(3) + (1 - keep) / 3
    gain = torch.where(
        uniform((count, 1, 1), 0, 1, generator) < 0.2,
        uniform((count, 1, 1), 0.15, 0.5, generator),
        uniform((count, 1, 1), 0.6, 1.3, generator),
    )
    colours = colours * gain * uniform((count, 3, 1), 0.8, 1.2, generator)
    offset = torch.where(uniform((count, 1, 1), 0, 1, generator) < 0.1, 1.0, 0.0)  # negatives
    clips = torch.baddbmm(offset, colours * (1 - 2 * offset), clips.flatten(2)).view_as(clips)
    curve = uniform((count, 1, 1, 1, 1), -0.3, 0.6, generator)
    return torch.lerp(clips, clips * clips, curve)


def change_exposure(clips: Tensor, generator: Generator) -> Tensor:
    """Let the brightness of each clip drift, and flicker from frame to frame."""
    count, frames = clips.shape[0], clips.shape[2]
    drift = uniform((count, 1), -0.3, 0.3, generator) * torch.linspace(-0.5, 0.5, frames)
    depth = 0.08 * torch.rand((count, 1), generator=generator) ** 2
    flicker = depth * torch.randn((count, frames), generator=generator)
    return clips * torch.exp(drift + flicker).view(count, 1, frames, 1, 1)


def add_noise(clips: Tensor, generator: Generator) -> Tensor:
    """Add sensor noise of up to 0.05 of full scale, different in each clip."""
    sigma = 0.05 * torch.rand((len(clips), 1, 1, 1, 1), generator=generator) ** 2
    return clips + sigma * torch.randn(clips.shape, generator=generator)
