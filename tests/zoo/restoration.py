"""Pictures out: frame interpolation, denoising, super-resolution, frame prediction."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import unit2d


class FLAVR(nn.Module):
    """Four frames in, the middle one out: a 3D U-Net, time into channels (arXiv:2012.08512)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder1 = nn.Conv3d(3, 4, 3, (1, 2, 2), 1)
        self.encoder2 = nn.Conv3d(4, 6, 3, (1, 2, 2), 1)
        self.decoder = nn.ConvTranspose3d(6, 4, (3, 4, 4), (1, 2, 2), (1, 1, 1))
        self.feature_fuse = nn.Conv2d(8 * 4, 6, 1)
        self.outconv = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(6, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(3, keepdim=True).mean(4, keepdim=True)
        x = x - mean
        e1 = F.leaky_relu(self.encoder1(x), 0.2)
        e2 = F.leaky_relu(self.encoder2(e1), 0.2)
        d = torch.cat([F.leaky_relu(self.decoder(e2), 0.2), e1], 1)
        d = F.interpolate(d, scale_factor=(1, 2, 2), mode="nearest")
        y = self.feature_fuse(torch.cat(torch.unbind(d, 2), 1))
        return self.outconv(F.leaky_relu(y, 0.2)) + mean.mean(2)


class _DenoisingBlock(nn.Module):
    """Three neighbouring frames to the one in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.inc = unit2d(9, 6)
        self.down = unit2d(6, 8, 3, 2)
        self.up = nn.Sequential(nn.Conv2d(8, 24, 3, padding=1, bias=False), nn.PixelShuffle(2))
        self.outc = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        x0 = self.inc(torch.cat((a, b, c), dim=1))
        return b - self.outc(x0 + self.up(self.down(x0)))


class FastDVDnet(nn.Module):
    """Five frames, two stages of denoising blocks, the middle one out (arXiv:1907.01361)."""

    def __init__(self) -> None:
        super().__init__()
        self.temp1, self.temp2 = _DenoisingBlock(), _DenoisingBlock()

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        x = x.transpose(1, 2).reshape(n, t * c, h, w)
        x0, x1, x2, x3, x4 = tuple(x[:, 3 * m : 3 * m + 3, :, :] for m in range(5))
        x20 = self.temp1(x0, x1, x2)
        x21 = self.temp1(x1, x2, x3)
        x22 = self.temp1(x2, x3, x4)
        return self.temp2(x20, x21, x22)


class EDVR(nn.Module):
    """Temporal attention to the middle frame's features, pictures of twice the size."""

    def __init__(self, frames: int = 5, width: int = 6) -> None:
        super().__init__()
        self.center = frames // 2
        self.conv_first = nn.Conv2d(3, width, 3, 1, 1)
        self.temporal_attn1, self.temporal_attn2 = (
            nn.Conv2d(width, width, 3, padding=1) for _ in range(2)
        )
        self.feat_fusion = nn.Conv2d(frames * width, width, 1)
        self.upconv = nn.Conv2d(width, 12, 3, 1, 1)
        self.pixel_shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2).contiguous()
        b, t, c, h, w = x.size()
        x_center = x[:, self.center, :, :, :].contiguous()
        feat = F.leaky_relu(self.conv_first(x.view(-1, c, h, w)), 0.1).view(b, t, -1, h, w)
        ref = self.temporal_attn1(feat[:, self.center, :, :, :].clone())
        emb = self.temporal_attn2(feat.view(-1, feat.size(2), h, w)).view(b, t, -1, h, w)
        scores = []
        for i in range(t):
            scores.append(torch.sum(emb[:, i, :, :, :] * ref, 1).unsqueeze(1))
        prob = torch.sigmoid(torch.cat(scores, dim=1))
        prob = prob.unsqueeze(2).expand(b, t, feat.size(2), h, w).contiguous()
        aligned = feat.view(b, -1, h, w) * prob.view(b, -1, h, w)
        out = self.pixel_shuffle(self.upconv(F.leaky_relu(self.feat_fusion(aligned), 0.1)))
        return out + F.interpolate(x_center, scale_factor=2, mode="bilinear", align_corners=False)


class RecurrentSR(nn.Module):
    """BasicVSR's forward branch without its flow: a loop over frames (arXiv:2012.02181)."""

    def __init__(self, width: int = 6, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.width, self.bidirectional = width, bidirectional
        self.trunk = nn.Sequential(nn.Conv2d(3 + width, width, 3, 1, 1), nn.LeakyReLU(0.1))
        self.back = nn.Sequential(nn.Conv2d(3 + width, width, 3, 1, 1), nn.LeakyReLU(0.1))
        self.up = nn.Sequential(
            nn.Conv2d(width * (1 + bidirectional), 12, 3, 1, 1), nn.PixelShuffle(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        lrs = x.transpose(1, 2)
        n, t, _c, h, w = lrs.size()
        backward: list[Tensor] = []
        if self.bidirectional:
            feat = lrs.new_zeros(n, self.width, h, w)
            for i in range(t - 1, -1, -1):
                feat = self.back(torch.cat([lrs[:, i], feat], dim=1))
                backward.append(feat)
            backward = backward[::-1]
        outputs = []
        feat = torch.zeros(n, self.width, h, w, dtype=x.dtype)
        for i in range(t):
            current = lrs[:, i, :, :, :]
            feat = self.trunk(torch.cat([current, feat], dim=1))
            features = torch.cat([backward[i], feat], dim=1) if self.bidirectional else feat
            base = F.interpolate(current, scale_factor=2, mode="bilinear", align_corners=False)
            outputs.append(self.up(features) + base)
        return torch.stack(outputs, dim=1)


def bidirectional_sr() -> nn.Module:
    return RecurrentSR(bidirectional=True)


class DynamicFilters(nn.Module):
    """A 3D network makes a filter per pixel, which the middle frame's neighbourhood meets."""

    def __init__(self, frames: int = 5) -> None:
        super().__init__()
        self.frames = frames
        self.body = nn.Sequential(
            nn.Conv3d(3, 6, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(),
            nn.Conv3d(6, 6, (3, 3, 3), padding=(0, 1, 1)), nn.ReLU(),
            nn.Conv3d(6, 6, (3, 3, 3), padding=(0, 1, 1)), nn.ReLU(),
        )  # fmt: skip
        self.filters = nn.Conv3d(6, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        filters = F.softmax(self.filters(self.body(x)), dim=1).squeeze(2)
        near = F.unfold(x[:, :, t // 2], 3, padding=1).view(n, c, 9, h, w)
        return (near * filters.unsqueeze(1)).sum(2)


class DeepVideoDenoiser(nn.Module):
    """Residual 3D kernels without biases, each frame less its noise."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReplicationPad3d((1, 1, 1, 1, 0, 0)),
            nn.Conv3d(3, 6, 3, padding=(1, 0, 0)), nn.ReLU(),
            nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0), bias=False), nn.BatchNorm3d(6), nn.ReLU(),
            nn.Conv3d(6, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x - self.body(x)
