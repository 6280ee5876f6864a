"""A camera that pans, tilts, zooms and rolls over a picture.

Labels follow film terms and describe the camera, not the picture: when the camera pans right, the
picture's content moves left; when it tilts up, down; when it zooms in, the content grows; when it
rolls clockwise (seen from behind the camera), the content turns counter-clockwise.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class CameraPath:
    """The poses of N cameras in each of T frames; every field is (N, T) float32.

    Attributes:
        x, y: centre of view, in frame widths; x grows to the right, y grows downwards.
        log_zoom: natural logarithm of the magnification; grows as the camera zooms in.
        angle: roll in radians; grows as the camera rolls clockwise, seen from behind.
    """

    x: Tensor
    y: Tensor
    log_zoom: Tensor
    angle: Tensor

    def __getitem__(self, index: slice | tuple[slice, slice | int]) -> "CameraPath":
        """A subset of the cameras, or with two indices a subset of their frames."""
        return CameraPath(self.x[index], self.y[index], self.log_zoom[index], self.angle[index])

    def view_points(self, height_px: int, width_px: int) -> Tensor:
        """World points seen by each pixel: (N, T, height_px, width_px, 2), in frame widths."""
        aspect = height_px / width_px
        v = (torch.arange(height_px, dtype=torch.float32) + 0.5) / height_px - 0.5
        u = (torch.arange(width_px, dtype=torch.float32) + 0.5) / width_px - 0.5
        v, u = torch.meshgrid(v * aspect, u, indexing="ij")
        scale = torch.exp(-self.log_zoom)
        cos, sin = _per_pixel(scale * self.angle.cos()), _per_pixel(scale * self.angle.sin())
        return torch.stack(
            (_per_pixel(self.x) + cos * u - sin * v, _per_pixel(self.y) + sin * u + cos * v), -1
        )


def render(pictures: Tensor, points: Tensor, view_px: Tensor) -> Tensor:
    """Sample pictures at world points; the world is the picture, mirrored endlessly at its edges.

    Args:
        pictures: (N, C, H, W) float for still pictures, or (N, C, T, H, W) for moving ones.
        points: (N, T, h, w, 2) in frame widths; (0, 0) is the picture's centre.
        view_px: (N,) width of the frame in pixels of the picture, at magnification 1.

    Returns:
        (N, C, T, h, w) float, bilinear.
    """
    count, frames, height, width, _ = points.shape
    size = points.new_tensor([pictures.shape[-1], pictures.shape[-2]])
    grid = points * (2 * view_px.view(-1, 1, 1, 1, 1) / size)
    if pictures.ndim == 4:
        # All frames of a clip sample the same picture: stacking them along the height saves copies.
        grid = grid.reshape(count, frames * height, width, 2)
        out = _sample(pictures, grid)
        return out.view(count, pictures.shape[1], frames, height, width)
    pictures = pictures.transpose(1, 2).flatten(0, 1)
    out = _sample(pictures, grid.flatten(0, 1))
    return out.view(count, frames, pictures.shape[1], height, width).transpose(1, 2)


def _sample(pictures: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(pictures, grid, "bilinear", "reflection", align_corners=False)


def _per_pixel(values: Tensor) -> Tensor:
    return values[..., None, None]
