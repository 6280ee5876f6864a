"""Shot detection: a score per frame from dilated kernels, similarities and histograms."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _SeparableConv(nn.Module):
    def __init__(self, inputs: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.space = nn.Conv3d(inputs, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.time = nn.Conv3d(
            2 * filters, filters, (3, 1, 1), dilation=(dilation, 1, 1), padding=(dilation, 0, 0),
            bias=False,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.time(self.space(x))


class _DDCNN(nn.Module):
    """Dilations of 1, 2, 4 side by side."""

    def __init__(self, inputs: int, filters: int, activation: bool = True) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_SeparableConv(inputs, filters, 2**i) for i in range(3))
        self.bn = nn.BatchNorm3d(3 * filters, eps=1e-3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(torch.cat([conv(x) for conv in self.convs], dim=1))
        return F.relu(x) if self.activation else x


class _Stacked(nn.Module):
    """Two cells, a shortcut of the first, a mean over places."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.first = _DDCNN(inputs, filters)
        self.second = _DDCNN(3 * filters, filters, activation=False)
        self.pool = nn.AvgPool3d((1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return self.pool(F.relu(self.second(first)) + first)


class _Similarity(nn.Module):
    """Products of each frame's features with those of its neighbours, gathered from a matrix."""

    def __init__(self, channels: int, band: int) -> None:
        super().__init__()
        self.band = band
        self.projection, self.fc = nn.Linear(channels, 6, bias=False), nn.Linear(band, 6)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        x = torch.cat([torch.mean(x, dim=[3, 4]) for x in inputs], dim=1)
        x = F.normalize(self.projection(torch.transpose(x, 1, 2)), p=2, dim=2)
        n, t = x.shape[0], x.shape[1]
        half = (self.band - 1) // 2
        similarities = torch.bmm(x, x.transpose(1, 2))
        padded = F.pad(similarities, [half, half])
        batch = torch.arange(0, n).view([n, 1, 1]).repeat([1, t, self.band])
        frame = torch.arange(0, t).view([1, t, 1]).repeat([n, 1, self.band])
        look = torch.arange(0, self.band).view([1, 1, self.band]).repeat([n, t, 1]) + frame
        return F.relu(self.fc(padded[batch, frame, look]))


class _Histograms(nn.Module):
    """Histograms of colours, counted by scatter_add, compared as features are."""

    def __init__(self, band: int) -> None:
        super().__init__()
        self.band, self.fc = band, nn.Linear(band, 6)

    def forward(self, x: Tensor) -> Tensor:
        n, _c, t, h, w = x.shape
        colours = ((x.permute(0, 2, 3, 4, 1) * 2 + 4).clamp(0, 7)).to(torch.int64)
        bins = (colours[..., 0] * 64 + colours[..., 1] * 8 + colours[..., 2]).view(n * t, -1)
        bins = bins + torch.arange(n * t).view(-1, 1) * 512
        counts = torch.zeros(n * t * 512, dtype=x.dtype)
        ones = torch.ones(n * t * h * w, dtype=x.dtype)
        counts = counts.scatter_add(0, bins.view(-1), ones).view(n, t, 512)
        y = F.normalize(counts, p=2, dim=2)
        similarities = torch.bmm(y, y.transpose(1, 2))
        half = (self.band - 1) // 2
        padded = F.pad(similarities, [half, half])
        rows = [padded[:, i, i : i + self.band] for i in range(t)]
        return F.relu(self.fc(torch.stack(rows, 1)))


class TransNetV2(nn.Module):
    """Cells, similarities and histograms: a score for each frame, as a dictionary of two."""

    def __init__(self, band: int = 5, *, similarity: bool = True, histograms: bool = False) -> None:
        super().__init__()
        self.cells = nn.ModuleList([_Stacked(3, 2), _Stacked(6, 2)])
        self.similarity = _Similarity(12, band) if similarity else None
        self.histograms = _Histograms(band) if histograms else None
        width = 6 * 2 * 2 + 6 * (similarity + histograms)
        self.fc1, self.cls1, self.cls2 = nn.Linear(width, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        frames, features = x, []
        for cell in self.cells:
            x = cell(x)
            features.append(x)
        x = x.permute(0, 2, 3, 4, 1)
        x = x.reshape(x.shape[0], x.shape[1], -1)
        if self.similarity is not None:
            x = torch.cat([self.similarity(features), x], 2)
        if self.histograms is not None:
            x = torch.cat([self.histograms(frames), x], 2)
        x = F.relu(self.fc1(x))
        return {"one_hot": self.cls1(x), "many_hot": self.cls2(x)}


def transnet_cells() -> nn.Module:
    """The dilated cells alone, which carry most of it."""
    return TransNetV2(similarity=False)


def transnet_histograms() -> nn.Module:
    return TransNetV2(similarity=False, histograms=True)


class AutoShot(nn.Module):
    """Cells that share one kernel of space among dilations, and attention over time."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.space = nn.Conv3d(3, width, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.times = nn.ModuleList(
            nn.Conv3d(width, 2, (3, 1, 1), dilation=(d, 1, 1), padding=(d, 0, 0)) for d in (1, 2, 4)
        )
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.cls = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.space(x)
        x = F.relu(torch.cat([time(x) for time in self.times], 1)).mean((3, 4)).transpose(1, 2)
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.cls(x + y)


class ShotByDifferences(nn.Module):
    """Cosine similarities of neighbouring frames' features, smoothed along time."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1)), nn.Tanh())
        self.smooth = nn.Conv1d(1, 4, 5, padding=2)
        self.cls = nn.Conv1d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).mean(dim=(-2, -1))
        similar = F.cosine_similarity(y[:, :, 1:], y[:, :, :-1], dim=1)
        return self.cls(F.relu(self.smooth(similar.unsqueeze(1)))).squeeze(1)
