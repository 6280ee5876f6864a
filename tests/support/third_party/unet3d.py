"""An encoder and decoder with skips (arXiv:1606.06650), that keeps time at its full rate."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def double(inputs: int, outputs: int) -> nn.Module:
    """Two convolutions."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv3d(outputs, outputs, 3, padding=1),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class Resize(nn.Module):
    """Twice the height and width, by interpolation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)


class UNet3D(nn.Module):
    """Two levels down and up; class scores for every pixel of every frame."""

    def __init__(self, *, transposed: bool) -> None:
        super().__init__()
        widths = (4, 6, 8)
        self.down = nn.ModuleList(
            [double(3, widths[0]), double(widths[0], widths[1]), double(widths[1], widths[2])]
        )
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose3d(widths[i], widths[i], (1, 2, 2), (1, 2, 2))
            if transposed
            else Resize()
            for i in (2, 1)
        )
        self.up = nn.ModuleList([double(widths[i] + widths[i - 1], widths[i - 1]) for i in (2, 1)])
        self.scores = nn.Conv3d(widths[0], 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down[0](x)
        second = self.down[1](self.pool(first))
        y = self.down[2](self.pool(second))
        for enlarge, up, skip in zip(self.enlarge, self.up, (second, first), strict=True):
            y = up(torch.cat([skip, enlarge(y)], 1))
        return self.scores(y)


def unet3d(*, transposed: bool) -> nn.Module:
    """Enlarged by transposed convolutions, or by interpolation."""
    return UNet3D(transposed=transposed)
