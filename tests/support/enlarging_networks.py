"""Networks that enlarge time again which strides have divided: one per operator, and whole ones."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.networks import Apply, stem

Make = Callable[[], nn.Module]


def _halved(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(stem(), nn.MaxPool3d((2, 1, 1)), *layers)


def _halved_vectors(join: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> nn.Module:
    return Apply(
        lambda m, x: join(m, F.avg_pool3d(m.stem(x), (2, 1, 1)).mean((3, 4))),
        stem=stem(),
        **layers,
    )


def look() -> nn.Module:
    """A signed convolution of four channels that looks along time."""
    return nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))


def _frames_of_channels(clip: Tensor) -> Tensor:
    """(N, 2·C, T, H, W) -> (N, C, 2·T, H, W)."""
    n, channels, frames, height, width = clip.shape
    apart = clip.view(n, channels // 2, 2, frames, height, width).permute(0, 1, 3, 2, 4, 5)
    return apart.reshape(n, channels // 2, 2 * frames, height, width)


# They take clips of any length, as nothing meets what they have enlarged.
ENLARGING: dict[str, Make] = {
    "transposed convolution with a stride in time": lambda: _halved(
        nn.ConvTranspose3d(4, 4, (4, 3, 3), 2, 1), look()
    ),
    "transposed convolution in groups": lambda: _halved(
        nn.ConvTranspose3d(4, 6, (3, 2, 2), (2, 1, 1), (1, 0, 0), (1, 0, 0), groups=2)
    ),
    "transposed convolution that leaves gaps": lambda: nn.Sequential(
        stem(),
        nn.MaxPool3d((4, 1, 1)),
        nn.ConvTranspose3d(4, 4, (2, 1, 1), (4, 1, 1), output_padding=(2, 0, 0)),
        look(),
    ),
    "transposed convolution with dilated taps": lambda: _halved(
        nn.ConvTranspose3d(4, 4, (3, 1, 1), (2, 1, 1), (1, 0, 0), dilation=(3, 1, 1)), look()
    ),
    "transposed convolution of vectors": lambda: _halved_vectors(
        lambda m, x: m.up(x), up=nn.ConvTranspose1d(4, 6, 4, 2, 1, groups=2)
    ),
    "transposed convolution of rows": lambda: Apply(
        lambda m, x: m.up(F.avg_pool3d(m.stem(x), (2, 1, 1)).mean(4)),
        stem=stem(),
        up=nn.ConvTranspose2d(4, 4, 4, 2, 1),
    ),
    "nearest frames": lambda: _halved(nn.Upsample(scale_factor=(2, 2, 1)), look()),
    "nearest vectors": lambda: _halved_vectors(
        lambda m, x: F.interpolate(x, scale_factor=2, mode="nearest-exact")
    ),
    "frames between frames": lambda: _halved(
        nn.Upsample(scale_factor=(2, 2, 1), mode="trilinear"), look()
    ),
    "vectors between vectors": lambda: Apply(
        lambda m, x: F.interpolate(m.pool(m.stem(x)).mean((3, 4)), scale_factor=3, mode="linear"),
        stem=stem(),
        pool=nn.AvgPool3d((3, 1, 1)),
    ),
    "expanded frames": lambda: Apply(
        lambda m, x: m.look(
            m.pool(m.stem(x)).unsqueeze(3).expand(-1, -1, -1, 2, -1, -1).flatten(2, 3)
        ),
        stem=stem(),
        pool=nn.MaxPool3d((2, 1, 1)),
        look=look(),
    ),
    "frames of channels": lambda: Apply(
        lambda m, x: m.look(_frames_of_channels(m.more(m.stem(x)))),
        stem=stem(),
        more=nn.Conv3d(4, 8, (2, 1, 1), (2, 1, 1)),
        look=look(),
    ),
    "repeated frames": lambda: Apply(
        lambda m, x: m.pool(m.stem(x)).repeat_interleave(2, 2).repeat_interleave(3, 1),
        stem=stem(),
        pool=nn.MaxPool3d((2, 1, 1)),
    ),
}


class UNet(nn.Module):
    """Two levels of pooling and enlarging, with skips that are concatenated or added."""

    def __init__(self, up: str, *, add: bool = False) -> None:
        super().__init__()
        self.add = add
        self.first, self.second, self.third = stem(), look(), look()
        self.rest = nn.ModuleList(nn.Conv3d(4 if add else 8, 4, 3, padding=1) for _ in range(2))
        self.ups = nn.ModuleList(_up(up) for _ in range(2))

    def forward(self, clip: Tensor) -> Tensor:
        """(N, 4, T, H, W)."""
        fine = self.first(clip)
        middle = self.second(F.max_pool3d(fine, 2))
        value = self.third(F.max_pool3d(middle, (2, 1, 1)))
        for up, rest, skip in zip(self.ups, self.rest, (middle, fine), strict=True):
            value = F.interpolate(up(value), size=skip.shape[2:])
            value = rest(value + skip if self.add else torch.cat([skip, value], 1)).relu()
        return value


def _up(kind: str) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose3d(4, 4, (2, 1, 1), (2, 1, 1))
    return nn.Upsample(scale_factor=(2, 1, 1), mode=kind)


class PulseDecoder(nn.Module):
    """A value per frame from an encoder and a decoder of time, as PhysNet (arXiv:1905.02419)."""

    def __init__(self) -> None:
        super().__init__()
        encoder: list[nn.Module] = []
        for channels, pool in ((3, (1, 2, 2)), (4, (2, 2, 2)), (4, (2, 1, 1))):
            encoder += [nn.Conv3d(channels, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU()]
            encoder.append(nn.MaxPool3d(pool))
        decoder: list[nn.Module] = []
        for _ in range(2):
            decoder.append(nn.ConvTranspose3d(4, 4, (4, 1, 1), (2, 1, 1), (1, 0, 0)))
            decoder += [nn.BatchNorm3d(4), nn.ELU()]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.last = nn.Conv3d(4, 1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        """(N, T)."""
        frames = clip.shape[2]
        value = F.adaptive_avg_pool3d(self.decoder(self.encoder(clip)), (frames, 1, 1))
        return self.last(value).view(-1, frames)


class Autoencoder(nn.Module):
    """Strided convolutions down, transposed ones up; the clip again, or a label of it."""

    def __init__(self, labels: int = 0) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv3d(3, 4, 3, 2, 1), nn.BatchNorm3d(4), nn.LeakyReLU(0.2), nn.MaxPool3d((2, 1, 1))
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose3d(4, 4, 3, (2, 1, 1), 1, (1, 0, 0)),
            nn.BatchNorm3d(4),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose3d(4, 3, 3, 2, 1, 1),
        )
        self.head = nn.Linear(3, labels) if labels else None

    def forward(self, clip: Tensor) -> Tensor:
        """(N, 3, T, H, W), or (N, labels)."""
        made = self.decoder(self.encoder(clip))
        return made if self.head is None else self.head(made.mean((2, 3, 4)))
