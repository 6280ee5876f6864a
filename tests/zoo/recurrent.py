"""Recurrent and causal networks: the state is the network's own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import unit2d


class _ConvLSTMCell(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden_dim = hidden
        self.conv = nn.Conv2d(inputs + hidden, 4 * hidden, 3, padding=1)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h_cur, c_cur = state
        combined = self.conv(torch.cat([x, h_cur], dim=1))
        cc_i, cc_f, cc_o, cc_g = torch.split(combined, self.hidden_dim, dim=1)
        i, f, o = torch.sigmoid(cc_i), torch.sigmoid(cc_f), torch.sigmoid(cc_o)
        c_next = f * c_cur + i * torch.tanh(cc_g)
        return o * torch.tanh(c_next), c_next


class ConvLSTM(nn.Module):
    """A loop over frames, layer by layer; the next frame for each (arXiv:1506.04214)."""

    def __init__(self, *, per_frame: bool = True) -> None:
        super().__init__()
        self.cells = nn.ModuleList([_ConvLSTMCell(3, 4), _ConvLSTMCell(4, 4)])
        self.conv, self.per_frame = nn.Conv2d(4, 3, 1), per_frame

    def forward(self, x: Tensor) -> Tensor:
        layer = x.permute(0, 2, 1, 3, 4)
        b, t, _, height, width = layer.size()
        for cell in self.cells:
            h = torch.zeros(b, cell.hidden_dim, height, width, dtype=x.dtype)
            c = torch.zeros(b, cell.hidden_dim, height, width, dtype=x.dtype)
            inner = []
            for step in range(t):
                h, c = cell(layer[:, step, :, :, :], (h, c))
                inner.append(h)
            layer = torch.stack(inner, dim=1)
        if not self.per_frame:
            return self.conv(layer[:, -1])
        return self.conv(layer.reshape(b * t, 4, height, width)).view(b, t, 3, height, width)


def convlstm_last() -> nn.Module:
    return ConvLSTM(per_frame=False)


class CNNLSTM(nn.Module):
    """Frames one by one through a 2D network, a loop, an LSTM, its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(unit2d(3, 6, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.lstm = nn.LSTM(6, 8, 2, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = None
        out = torch.zeros(0)
        for t in range(x.size(2)):
            y = self.cnn(x[:, :, t, :, :])
            out, hidden = self.lstm(y.unsqueeze(1), hidden)
        return self.fc2(F.relu(self.fc1(out[:, -1, :])))


class LRCN(nn.Module):
    """An LSTM over all features at once, the mean of its scores (arXiv:1411.4389)."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(unit2d(3, 6, 3, 2), nn.AdaptiveAvgPool2d(1))
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.size()
        y = self.cnn(x.transpose(1, 2).reshape(n * t, c, h, w)).view(n, t, -1)
        y, _ = self.lstm(y)
        return torch.mean(self.fc(y), dim=1)


class CNNGRU(nn.Module):
    """3D features, then a GRU, a label per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(3, 6, 3, (1, 2, 2), 1), nn.ReLU())
        self.rnn = nn.GRU(6, 8, batch_first=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.mean(self.features(x), dim=(3, 4)).permute(0, 2, 1)
        return self.fc(self.rnn(y)[0])


class PhasesOfSurgery(nn.Module):
    """TeCNO: two causal multi-stage TCNs over features of frames (arXiv:2003.10751)."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(unit2d(3, 6, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.stages = nn.ModuleList([_CausalStage(6), _CausalStage(5)])

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        y = self.cnn(x.transpose(1, 2).reshape(n * t, c, h, w)).view(n, t, -1).permute(0, 2, 1)
        out = self.stages[0](y)
        outputs = out.unsqueeze(0)
        out = self.stages[1](F.softmax(out, dim=1))
        return torch.cat((outputs, out.unsqueeze(0)), dim=0).transpose(0, 1)


class _CausalStage(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv_1x1 = nn.Conv1d(inputs, 6, 1)
        self.dilated = nn.ModuleList(
            nn.Conv1d(6, 6, 3, padding=2 * 2**i, dilation=2**i) for i in range(2)
        )
        self.conv_out = nn.Conv1d(6, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_1x1(x)
        for conv in self.dilated:
            y = F.relu(conv(x))
            y = y[:, :, : -(2 * conv.dilation[0])]
            x = x + y
        return self.conv_out(x)


class MSTCN(nn.Module):
    """The same looking to both sides (arXiv:1903.01945)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv3d(3, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.dilated = nn.ModuleList(
            nn.Conv1d(6, 6, 3, padding=2**i, dilation=2**i) for i in range(3)
        )
        self.conv_out = nn.Conv1d(6, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).flatten(3).mean(3)
        for conv in self.dilated:
            x = x + F.relu(conv(x))
        return self.conv_out(x)


class CausalConv3d(nn.Conv3d):
    """Replicates the first frame in front, as the video VAEs of diffusion models do."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, (0, kernel // 2, kernel // 2))
        self.time_pad = kernel - 1

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, :, :1].repeat((1, 1, self.time_pad, 1, 1))
        return super().forward(torch.cat([first, x], dim=2))


class CausalVAE(nn.Module):
    """The encoder of a causal video VAE: residual blocks, strides in time."""

    def __init__(self, pad: str = "cat") -> None:
        super().__init__()
        self.pad = pad
        self.conv_in = CausalConv3d(3, 6, 3)
        self.norm = nn.BatchNorm3d(6)
        self.conv1, self.down = CausalConv3d(6, 6, 3), CausalConv3d(6, 8, 3, 2)
        self.conv_out = nn.Conv3d(8, 4, 3, padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        h = h + self.conv1(F.silu(self.norm(h)))
        h = self.down(h)
        h = F.pad(h, (0, 0, 0, 0, 2, 0), mode="replicate")
        mean, _ = torch.chunk(self.conv_out(h), 2, dim=1)
        return mean


class WaveNet(nn.Module):
    """Gated dilated causal kernels over features of frames, skips summed (arXiv:1609.03499)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv3d(3, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.convs = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=2**i) for i in range(3))
        self.skips = nn.ModuleList(nn.Conv1d(6, 5, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean((-2, -1))
        total: Tensor | None = None
        for i, (conv, skip) in enumerate(zip(self.convs, self.skips, strict=True)):
            y = conv(F.pad(x, (2**i, 0)))
            y = F.glu(y, dim=1)
            total = skip(y) if total is None else total + skip(y)
            x = x + y
        assert total is not None
        return total


class Cumulative(nn.Module):
    """Scores that only grow: a running maximum and a running mean over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(3, 6, 3, (1, 2, 2), 1), nn.ReLU())
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).mean((3, 4)).transpose(1, 2)
        steps = torch.arange(1, y.shape[1] + 1, dtype=y.dtype)
        return self.fc(torch.cumsum(y, dim=1) / steps[None, :, None])
