"""Encoders and decoders over clips: 3D U-Nets, autoencoders, saliency, regression."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual3d, unit


class UNet3D(nn.Module):
    """Time is halved and doubled with space; skips join both (arXiv:1606.06650)."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.encoder1, self.encoder2 = unit(1, 4), unit(4, 6)
        self.bottom = unit(6, 8)
        self.pool = nn.MaxPool3d(kernel_size=2, stride=2)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(w, w, kernel_size=2, stride=2) for w in (8, 6))
        self.decoder2, self.decoder1 = unit(8 + 6, 6), unit(6 + 4, 4)
        self.conv = nn.Conv3d(4, 2, kernel_size=1)

    def _enlarge(self, x: Tensor, like: Tensor, up: nn.Module) -> Tensor:
        if self.how == "transposed":
            return up(x)
        if self.how == "nearest":
            return F.interpolate(x, size=like.size()[2:], mode="nearest")
        return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        enc1 = self.encoder1(x)
        enc2 = self.encoder2(self.pool(enc1))
        y = self.bottom(self.pool(enc2))
        y = self.decoder2(torch.cat((self._enlarge(y, enc2, self.ups[0]), enc2), dim=1))
        y = self.decoder1(torch.cat((enc1, self._enlarge(y, enc1, self.ups[1])), dim=1))
        return torch.sigmoid(self.conv(y))


class VNet(nn.Module):
    """Strided kernels down, transposed up, the input added by repeated channels."""

    def __init__(self, norm: type = nn.BatchNorm3d) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(1, 4, 5, padding=2), norm(4)
        self.down_conv, self.bn2 = nn.Conv3d(4, 8, 2, stride=2), norm(8)
        self.ops = nn.Sequential(nn.Conv3d(8, 8, 5, padding=2), norm(8), nn.PReLU(8))
        self.up_conv, self.bn3 = nn.ConvTranspose3d(8, 4, 2, stride=2), norm(4)
        self.last = nn.Conv3d(8, 8, 5, padding=2)
        self.out = nn.Conv3d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x))
        x16 = torch.cat((x, x, x, x), 1)
        first = F.elu(torch.add(out, x16))
        down = F.elu(self.bn2(self.down_conv(first)))
        down = F.elu(torch.add(self.ops(down), down))
        up = F.elu(self.bn3(self.up_conv(down)))
        joined = torch.cat((up, first), 1)
        y = self.out(F.elu(torch.add(self.last(joined), joined)))
        return F.softmax(y, dim=1)


def vnet_instance_norm() -> nn.Module:
    """Statistics of the whole clip in every norm."""
    return VNet(nn.InstanceNorm3d)


class EchoNet(nn.Module):
    """R(2+1)D whose last layer gives one number, the ejection fraction."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 6, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False), nn.BatchNorm3d(6),
            nn.ReLU(inplace=True),
            nn.Conv3d(6, 4, (3, 1, 1), (1, 1, 1), (1, 0, 0), bias=False), nn.BatchNorm3d(4),
            nn.ReLU(inplace=True),
        )  # fmt: skip
        self.layer = Residual3d(4, 8, 2, (3, 1, 1))
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.layer(self.stem(x)))
        return self.fc(x.flatten(1)).view(-1)


class Autoencoder(nn.Module):
    """Strides down, transposed kernels with output padding up: every frame again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv3d(1, 4, 3, stride=(1, 2, 2), padding=1), nn.BatchNorm3d(4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv3d(4, 6, 3, stride=(2, 2, 2), padding=1), nn.BatchNorm3d(6),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv3d(6, 8, 3, stride=(2, 2, 2), padding=1), nn.BatchNorm3d(8),
            nn.LeakyReLU(0.2, inplace=True),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.ConvTranspose3d(8, 6, 3, 2, 1, output_padding=1), nn.BatchNorm3d(6),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose3d(6, 4, 3, 2, 1, output_padding=1), nn.BatchNorm3d(4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose3d(4, 1, 3, (1, 2, 2), 1, output_padding=(0, 1, 1)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self._remember(self.encoder(x)))

    def _remember(self, x: Tensor) -> Tensor:
        return x


class MemAE(Autoencoder):
    """Every place is replaced by a mixture of remembered ones (arXiv:1904.02639)."""

    def __init__(self, slots: int = 10, threshold: float = 0.0025) -> None:
        super().__init__()
        self.weight, self.threshold = nn.Parameter(torch.randn(slots, 8)), threshold

    def _remember(self, x: Tensor) -> Tensor:
        s = x.data.shape
        y = x.permute(0, 2, 3, 4, 1).contiguous().view(-1, s[1])
        att = F.softmax(F.linear(y, self.weight), dim=1)
        shrunk = F.relu(att - self.threshold)
        att = (shrunk * att) / (torch.abs(att - self.threshold) + 1e-12)
        att = F.normalize(att, p=1, dim=1)
        y = F.linear(att, self.weight.permute(1, 0))
        return y.view(s[0], s[2], s[3], s[4], s[1]).permute(0, 4, 1, 2, 3)


class AnomalyScores(nn.Module):
    """Features of clips of frames, a score for each (arXiv:1801.04264)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            unit(3, 4), nn.MaxPool3d((1, 2, 2)), unit(4, 6), nn.MaxPool3d((4, 2, 2))
        )
        self.classifier = nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.6), nn.Linear(8, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.normalize(x.mean((3, 4)).transpose(1, 2), dim=-1)
        return self.classifier(x).squeeze(-1)


class TASED(nn.Module):
    """Saliency of the clip: an encoder, max-unpooling, time at one element (arXiv:1908.05786)."""

    def __init__(self) -> None:
        super().__init__()
        self.base1 = unit(3, 4, 3, (2, 2, 2))
        self.maxp2 = nn.MaxPool3d((1, 2, 2), (1, 2, 2), return_indices=True)
        self.maxt2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        self.base2 = unit(4, 4)
        self.convtsp1 = nn.Sequential(
            nn.Conv3d(4, 4, 1, bias=False), nn.BatchNorm3d(4, eps=1e-3), nn.ReLU(),
            nn.Conv3d(4, 4, (2, 1, 1), (2, 1, 1), bias=False), nn.BatchNorm3d(4), nn.ReLU(),
        )  # fmt: skip
        self.unpool1 = nn.MaxUnpool3d((1, 2, 2), (1, 2, 2))
        self.convtsp2 = nn.Sequential(
            nn.ConvTranspose3d(4, 4, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False),
            nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 1, (2, 1, 1), (2, 1, 1)), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.base1(x)
        _, indices = self.maxp2(self.maxt2(y))
        y, _ = self.maxp2(y)
        y = self.convtsp1(self.base2(y))
        z = self.convtsp2(self.unpool1(y, indices))
        return z.view(z.size(0), z.size(3), z.size(4))


class ViNet(nn.Module):
    """Features of several depths, upsampled in space, joined along time (arXiv:2012.06170)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone1, self.backbone2 = unit(3, 4, 3, (2, 2, 2)), unit(4, 6, 3, (2, 2, 2))
        self.upsampling = nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear")
        self.convtsp1 = nn.Sequential(
            nn.Conv3d(6, 4, (1, 3, 3), padding=(0, 1, 1), bias=False), nn.ReLU(), self.upsampling
        )
        self.convtsp2 = nn.Sequential(
            nn.Conv3d(4, 4, (3, 3, 3), stride=(3, 1, 1), padding=(0, 1, 1)), nn.ReLU(),
            self.upsampling,
        )  # fmt: skip
        self.convtsp3 = nn.Sequential(nn.Conv3d(4, 1, (4, 1, 1), stride=(4, 1, 1)), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y1 = self.backbone1(x)
        z = self.convtsp1(self.backbone2(y1))
        z = torch.cat((z, y1), 2)
        z = self.convtsp3(self.convtsp2(z))
        return z.view(z.size(0), z.size(3), z.size(4))


class _ConvGRUCell(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 2 * hidden, 3, padding=1)
        self.candidate = nn.Conv2d(inputs + hidden, hidden, 3, padding=1)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        n = torch.tanh(self.candidate(torch.cat([x, r * h], 1)))
        return (1 - z) * h + z * n


class UNISAL(nn.Module):
    """2D features, a ConvGRU over them, a map per frame, a softmax over places."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(inplace=True)
        )
        self.rnn = _ConvGRUCell(4, 4)
        self.adaptation = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        maps = []
        h: Tensor | None = None
        for t in range(x.shape[1]):
            y = self.cnn(x[:, t])
            h = torch.zeros_like(y) if h is None else h
            h = self.rnn(y, h)
            z = F.interpolate(
                self.adaptation(h + y), scale_factor=2, mode="bilinear", align_corners=False
            )
            maps.append(z)
        out = torch.stack(maps, 1)
        shape = out.shape
        return F.log_softmax(out.view(shape[0], shape[1], -1), dim=2).view(shape)
