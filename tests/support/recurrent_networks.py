"""Small networks whose elements depend on all frames before them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.networks import Apply, stem


def features(m: nn.Module, x: Tensor) -> Tensor:
    """(N, T, C) of a clip."""
    return m.stem(x).mean((3, 4)).transpose(1, 2)


def head(
    kind: type[nn.RNNBase], read: Callable[[nn.Module, Tensor], Tensor], **options
) -> Callable:  # type: ignore[no-untyped-def]
    """A recurrent layer of five numbers over features, and a linear layer of what is read of it."""
    width = options.get("proj_size") or 5
    return lambda: Apply(
        read,
        stem=stem(),
        rnn=kind(4, 5, **{"num_layers": 2, "batch_first": True, **options}),
        fc=nn.Linear(width, 3),
    )


def every_output(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.rnn(features(m, x))[0])


def every_output_time_first(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(F.relu(m.rnn(features(m, x).transpose(0, 1))[0])).transpose(0, 1)


def last_output(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.rnn(features(m, x))[0][:, -1])


def last_output_time_first(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.rnn(features(m, x).permute(1, 0, 2))[0][-1])


def last_hidden(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.rnn(features(m, x))[1][-1])


def last_cells(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.rnn(features(m, x))[1][1].transpose(0, 1)).flatten(1)


def given_zeros(m: nn.Module, x: Tensor) -> Tensor:
    zeros = x.new_zeros(2, x.shape[0], 5)
    return m.fc(m.rnn(features(m, x), (zeros, zeros))[0])


class Cells(nn.Module):
    """An LSTM cell below a GRU cell, in a loop of the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.lower, self.upper = stem(), nn.LSTMCell(4, 5), nn.GRUCell(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        f = self.stem(x).mean((3, 4))
        h = f.new_zeros(f.shape[0], 5)
        c, g, found = torch.zeros_like(h), torch.zeros_like(h), []
        for t in range(f.shape[2]):
            h, c = self.lower(f[:, :, t], (h, c))
            g = self.upper(h, g)
            found.append(g)
        return torch.stack(found, 1)


class ConvLSTM(nn.Module):
    """arXiv:1506.04214 without peepholes, between convolutions over time."""

    def __init__(self, *, is_last: bool = False) -> None:
        super().__init__()
        self.stem, self.is_last = stem(), is_last
        self.gates = nn.Conv2d(7, 12, 3, padding=1)
        self.after = nn.Conv3d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.stem(x)
        h = torch.zeros(f.shape[0], 3, *f.shape[3:], dtype=x.dtype)
        c, found = torch.zeros_like(h), []
        for frame in f.unbind(2):
            i, k, g, o = self.gates(torch.cat([frame, h], 1)).chunk(4, 1)
            c = torch.sigmoid(k) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            found.append(h)
        if self.is_last:
            return h.mean((2, 3))
        return self.after(torch.stack(found, 2))


class ConvGRU(nn.Module):
    """arXiv:1511.06432, in two layers over frames that are sliced, not picked."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.gates = nn.ModuleList([nn.Conv2d(7, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)])
        self.news = nn.ModuleList([nn.Conv2d(7, 3, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        f = self.stem(x)
        for gates, new in zip(self.gates, self.news, strict=True):
            h, found = f.new_zeros(f.shape[0], 3, *f.shape[3:]), []
            for t in range(f.shape[2]):
                frame = f[:, :, t : t + 1].squeeze(2)
                reset, update = torch.sigmoid(gates(torch.cat([frame, h], 1))).chunk(2, 1)
                fresh = torch.tanh(new(torch.cat([frame, reset * h], 1)))
                h = (1 - update) * h + update * fresh
                found.append(h.unsqueeze(2))
            f = torch.cat(found, 2)
        return f


class FrameLoop(nn.Module):
    """A network in two dimensions, frame by frame: a loop without a past."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = stem(), nn.Conv2d(4, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = [
            self.fc(F.relu(self.norm(self.conv(frame))).mean((2, 3)))
            for frame in self.stem(x).unbind(2)
        ]
        return torch.stack(scores, 1)


class FramesThenLSTM(nn.Module):
    """Each frame by a network in two dimensions, folded into the batch; then an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(3, 4, 3, padding=1), nn.LSTM(4, 5, batch_first=True)
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, _, t = x.shape[:3]
        frames = F.relu(self.conv(x.transpose(1, 2).reshape(-1, 3, *x.shape[3:])))
        return self.fc(self.rnn(frames.mean((2, 3)).view(n, t, -1))[0])


class OwnCell(nn.Module):
    """Matrices instead of layers, a running sum beside it, and what is read of the last frame."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.own = nn.Parameter(torch.randn(5, 5) * 0.3)
        self.given = nn.Parameter(torch.randn(4, 5) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        f = self.stem(x).mean((3, 4))
        h, total = torch.zeros(f.shape[0], 5, dtype=x.dtype), 0
        for t in range(f.shape[2]):
            h = torch.tanh(f[:, :, t] @ self.given + h @ self.own)
            total = total + h.square()
        return torch.cat([h, total], 1)


# Networks with one element per frame, with the time axis of their output (without the batch).
FRAMEWISE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "cumulative sum": (
        lambda: Apply(
            lambda m, x: m.after(m.stem(x).cumsum(2)),
            stem=stem(),
            after=nn.Conv3d(4, 2, 3, padding=1),
        ),
        1,
    ),
    "cumulative product": (lambda: Apply(lambda m, x: m.stem(x).cumprod(2), stem=stem()), 1),
    "running extrema": (
        lambda: Apply(
            lambda m, x: m.stem(x).cummax(2)[0] - m.after(m.stem(x)).cummin(2)[0],
            stem=stem(),
            after=nn.Conv3d(4, 4, 3, padding=1),
        ),
        1,
    ),
    "cumulative over channels and space": (
        lambda: Apply(
            lambda m, x: m.stem(x).cumsum(1) + m.stem(x).cummax(3)[0] * m.stem(x).cumprod(4),
            stem=stem(),
        ),
        1,
    ),
    "sums behind a stride": (
        lambda: Apply(
            lambda m, x: m.after(m.down(m.stem(x)).cumsum(2)),
            stem=stem(),
            down=nn.Conv3d(4, 4, 3, (2, 1, 1), 1),
            after=nn.Conv3d(4, 2, 3, (2, 1, 1), 1),
        ),
        1,
    ),
    "LSTM": (head(nn.LSTM, every_output), 0),
    "LSTM, time first": (head(nn.LSTM, every_output_time_first, batch_first=False), 0),
    "LSTM with a projection": (head(nn.LSTM, every_output, proj_size=3), 0),
    "LSTM that is given zeros": (head(nn.LSTM, given_zeros), 0),
    "LSTM in training with dropout": (head(nn.LSTM, every_output, dropout=0.5), 0),
    "GRU": (head(nn.GRU, every_output), 0),
    "GRU without biases": (head(nn.GRU, every_output, bias=False, num_layers=1), 0),
    "GRU, time first": (head(nn.GRU, every_output_time_first, batch_first=False), 0),
    "RNN": (head(nn.RNN, every_output), 0),
    "RNN with rectifiers": (head(nn.RNN, every_output, nonlinearity="relu"), 0),
    "GRU per pixel": (
        lambda: Apply(
            lambda m, x: m.after(
                m.rnn(m.stem(x).permute(0, 3, 4, 2, 1).reshape(-1, x.shape[2], 4))[0]
                .view(x.shape[0], *x.shape[3:], -1, 4)
                .permute(0, 4, 3, 1, 2)
            ),
            stem=stem(),
            rnn=nn.GRU(4, 4, batch_first=True),
            after=nn.Conv3d(4, 2, 3, padding=1),
        ),
        1,
    ),
    "loop of cells": (Cells, 0),
    "loop of convolutional LSTM cells": (ConvLSTM, 1),
    "loops of convolutional GRU cells": (ConvGRU, 1),
    "loop without a past": (FrameLoop, 0),
    "frames folded, then an LSTM": (FramesThenLSTM, 0),
}
# Networks with one result per clip, from its last element.
LAST: dict[str, Callable[[], nn.Module]] = {
    "last output of an LSTM": head(nn.LSTM, last_output),
    "last output of a GRU, time first": head(nn.GRU, last_output_time_first, batch_first=False),
    "last hidden state of a GRU": head(nn.GRU, last_hidden),
    "last hidden state of an RNN, time first": head(
        nn.RNN,
        lambda m, x: m.fc(m.rnn(features(m, x).permute(1, 0, 2))[1].squeeze(0)),
        batch_first=False,
        num_layers=1,
    ),
    "last cells of an LSTM": head(nn.LSTM, last_cells),
    "last state of a convolutional LSTM": lambda: ConvLSTM(is_last=True),
    "own cell and running sum": OwnCell,
    "pools, then a GRU": lambda: Apply(
        lambda m, x: m.fc(m.rnn(m.pool(m.stem(x)).mean((3, 4)).transpose(1, 2))[0][:, -1]),
        stem=stem(),
        pool=nn.MaxPool3d(2),
        rnn=nn.GRU(4, 5, batch_first=True),
        fc=nn.Linear(5, 3),
    ),
}
