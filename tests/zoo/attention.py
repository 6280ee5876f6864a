"""Attention over clips: non-local blocks and video transformers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual3d, unit


class _NonLocal(nn.Module):
    """Every place of every frame attends to all others (arXiv:1711.07971)."""

    def __init__(self, channels: int, inner: int, softmax: bool) -> None:
        super().__init__()
        self.inner, self.softmax = inner, softmax
        self.g = nn.Sequential(nn.Conv3d(channels, inner, 1), nn.MaxPool3d((1, 2, 2)))
        self.phi = nn.Sequential(nn.Conv3d(channels, inner, 1), nn.MaxPool3d((1, 2, 2)))
        self.theta = nn.Conv3d(channels, inner, 1)
        self.W = nn.Sequential(nn.Conv3d(inner, channels, 1), nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        n = x.size(0)
        g_x = self.g(x).view(n, self.inner, -1).permute(0, 2, 1)
        theta_x = self.theta(x).view(n, self.inner, -1).permute(0, 2, 1)
        f = torch.matmul(theta_x, self.phi(x).view(n, self.inner, -1))
        f = F.softmax(f, dim=-1) if self.softmax else f / f.size(-1)
        y = torch.matmul(f, g_x).permute(0, 2, 1).contiguous()
        return self.W(y.view(n, self.inner, *x.size()[2:])) + x


class NonLocalI3D(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            unit(3, 8, (3, 3, 3), (1, 2, 2)),
            _NonLocal(8, 4, softmax=True),
            Residual3d(8, 8, (1, 2, 2)),
            _NonLocal(8, 4, softmax=False),
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool3d(self.body(x), 1).flatten(1))


class _GlobalContext(nn.Module):
    """GCNet: one attention map for the clip, its context added to every frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_mask = nn.Conv3d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv3d(channels, 4, 1),
            nn.LayerNorm([4, 1, 1, 1]),
            nn.ReLU(),
            nn.Conv3d(4, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.size()
        mask = self.conv_mask(x).view(n, 1, t * h * w)
        mask = F.softmax(mask, 2).unsqueeze(-1)
        context = torch.matmul(x.view(n, 1, c, t * h * w), mask).view(n, c, 1, 1, 1)
        return x + self.transform(context)


class GlobalContextR3D(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(3, 8, 3, (1, 2, 2)), _GlobalContext(8), Residual3d(8, 8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).mean((2, 3, 4)))


class _Attention(nn.Module):
    """Multi-head attention over (B, L, C), keys, queries and values in one layer."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attn_drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attn = self.attn_drop(((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1))
        return self.proj((attn @ v).transpose(1, 2).reshape(b, n, c))


class _MLP(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class TimeSformer(nn.Module):
    """Divided attention: over time at each place, then over the places of each frame."""

    def __init__(self, frames: int = 8, width: int = 8, places: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, places + 1, width))
        self.time_embed = nn.Parameter(torch.zeros(1, frames, width))
        self.temporal_norm, self.norm1, self.norm2 = (nn.LayerNorm(width) for _ in range(3))
        self.temporal_attn, self.attn = _Attention(width, 2), _Attention(width, 2)
        self.temporal_fc, self.mlp = nn.Linear(width, width), _MLP(width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        x = x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w)
        x = self.patch(x).flatten(2).transpose(1, 2)
        n, m = x.size(1), x.size(2)
        x = torch.cat((self.cls_token.expand(x.size(0), -1, -1), x), dim=1) + self.pos_embed
        cls_tokens = x[:b, 0, :].unsqueeze(1)
        x = x[:, 1:].reshape(b, t, n, m).permute(0, 2, 1, 3).reshape(b * n, t, m) + self.time_embed
        x = x + self.temporal_fc(self.temporal_attn(self.temporal_norm(x)))
        x = x.reshape(b, n, t, m)
        cls = cls_tokens.repeat(1, t, 1).reshape(b * t, 1, m)
        xs = torch.cat((cls, x.permute(0, 2, 1, 3).reshape(b * t, n, m)), 1)
        xs = self.attn(self.norm1(xs))
        cls = xs[:, 0, :].reshape(b, t, m).mean(1, keepdim=True)
        spatial = xs[:, 1:, :].reshape(b, t, n, m).permute(0, 2, 1, 3).reshape(b, n * t, m)
        x = torch.cat((cls_tokens, x.reshape(b, n * t, m)), 1) + torch.cat((cls, spatial), 1)
        x = self.norm(x + self.mlp(self.norm2(x)))
        return self.head(x[:, 0])


class ViViT(nn.Module):
    """Tubelets, positions, and joint attention over all of them (arXiv:2103.15691)."""

    def __init__(self, tokens: int = 16, width: int = 8) -> None:
        super().__init__()
        self.tubelets = nn.Conv3d(3, width, (2, 4, 4), (2, 4, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, 2, 16, batch_first=True, norm_first=True, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tubelets(x).flatten(2).transpose(1, 2) + self.pos_embed
        return self.head(self.encoder(x).mean(dim=1))


class ViViTFactorised(nn.Module):
    """Space first, frame by frame; then attention over the frames' tokens, with a class token."""

    def __init__(self, frames: int = 8, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.space_token = nn.Parameter(torch.zeros(1, 1, width))
        self.space, self.time = _Attention(width, 2), _Attention(width, 2)
        self.temporal_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.zeros(1, frames + 1, width))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 5))

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        x = self.patch(x.transpose(1, 2).reshape(b * t, c, h, w)).flatten(2).transpose(1, 2)
        x = torch.cat([self.space_token.repeat(b * t, 1, 1), x], 1)
        x = (x + self.space(x))[:, 0].view(b, t, -1)
        x = torch.cat((self.temporal_token.repeat(b, 1, 1), x), dim=1) + self.pos
        x = x + self.time(x)
        return self.head(x[:, 0])


class VideoSwin(nn.Module):
    """Windows of two elements of time and 2x2 places, then shifted ones (arXiv:2106.13230)."""

    def __init__(self, width: int = 8, window: tuple[int, int, int] = (2, 2, 2)) -> None:
        super().__init__()
        self.window, self.shift = window, tuple(n // 2 for n in window)
        self.embed = nn.Conv3d(3, width, (2, 4, 4), (2, 4, 4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.attn = nn.ModuleList(_Attention(width, 2) for _ in range(2))
        self.mlps = nn.ModuleList(_MLP(width) for _ in range(2))
        self.head = nn.Linear(width, 5)

    def _attend(self, x: Tensor, attn: nn.Module) -> Tensor:
        b, d, h, w, c = x.shape
        wd, wh, ww = self.window
        x = x.view(b, d // wd, wd, h // wh, wh, w // ww, ww, c)
        x = x.permute(0, 1, 3, 5, 2, 4, 6, 7).contiguous().view(-1, wd * wh * ww, c)
        x = attn(x).view(b, d // wd, h // wh, w // ww, wd, wh, ww, c)
        return x.permute(0, 1, 4, 2, 5, 3, 6, 7).contiguous().view(b, d, h, w, c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 4, 1)
        for i, (attn, mlp) in enumerate(zip(self.attn, self.mlps, strict=True)):
            y = self.norms[2 * i](x)
            if i:
                y = torch.roll(y, [-s for s in self.shift], dims=(1, 2, 3))
            y = self._attend(y, attn)
            if i:
                y = torch.roll(y, self.shift, dims=(1, 2, 3))
            x = x + y
            x = x + mlp(self.norms[2 * i + 1](x))
        return self.head(x.mean((1, 2, 3)))


class MViT(nn.Module):
    """Pooling attention: keys and values of fewer places, residual queries (arXiv:2104.11227)."""

    def __init__(self, frames: int = 8, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv3d(3, width, (3, 7, 7), (2, 4, 4), (1, 3, 3))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.qkv = nn.Linear(width, 3 * width)
        self.pool_q, self.pool_k, self.pool_v = (
            nn.Conv3d(4, 4, 3, (1, s, s), 1, groups=4, bias=False) for s in (1, 2, 2)
        )
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp, self.head = _MLP(width), nn.Linear(width, 5)

    def _pool(self, x: Tensor, conv: nn.Module, thw: tuple[int, int, int]) -> Tensor:
        cls, x = x[:, :, :1], x[:, :, 1:]
        b, heads, _, c = x.shape
        x = conv(x.reshape(b * heads, *thw, c).permute(0, 4, 1, 2, 3).contiguous())
        x = x.reshape(b, heads, c, -1).transpose(2, 3)
        return torch.cat((cls, x), dim=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        b, c, *thw = x.shape
        x = torch.cat((self.cls_token.expand(b, -1, -1), x.flatten(2).transpose(1, 2)), dim=1)
        qkv = self.qkv(self.norm1(x)).reshape(b, -1, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        size = (thw[0], thw[1], thw[2])
        q, k, v = (
            self._pool(part, pool, size)
            for part, pool in zip(qkv, (self.pool_q, self.pool_k, self.pool_v), strict=True)
        )
        y = F.scaled_dot_product_attention(q, k, v) + q
        x = x + y.transpose(1, 2).reshape(b, -1, c)
        x = x + self.mlp(self.norm2(x))
        return self.head(x[:, 0])


class UniFormer(nn.Module):
    """Local affinity by depthwise 5x5x5 kernels, then attention over everything."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv3d(3, width, (3, 4, 4), (2, 4, 4), (1, 0, 0))
        self.pos = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm3d(width)
        self.local = nn.Sequential(
            nn.Conv3d(width, width, 1), nn.Conv3d(width, width, 5, padding=2, groups=width)
        )
        self.norm2, self.attn = nn.LayerNorm(width), _Attention(width, 2)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        x = x + self.pos(x)
        x = x + self.local(self.norm(x))
        b, c, t, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attn(self.norm2(x))
        x = x.transpose(1, 2).reshape(b, c, t, h, w)
        return self.head(x.flatten(2).mean(-1))


class UniFormerLocal(UniFormer):
    """Its first stages alone: no attention, nothing but depthwise kernels."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        x = x + self.pos(x)
        x = x + self.local(self.norm(x))
        return self.head(x.flatten(2).mean(-1))


class CausalTransformer(nn.Module):
    """Frame features, then attention to earlier frames only, a score per frame."""

    def __init__(self, frames: int = 8, width: int = 8) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2)), nn.ReLU())
        self.heads = 2
        self.qkv, self.head = nn.Linear(width, 3 * width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.frame(x).mean((3, 4)).transpose(1, 2)
        b, t, c = x.shape
        q, k, v = (
            part.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + y.transpose(1, 2).reshape(b, t, c))
