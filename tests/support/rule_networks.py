"""One small network per rule, with what can go wrong in time."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from support.clip_functions import (
    attend,
    fold,
    overwrite,
    shift_by_cat,
    shift_by_writing,
    shift_time_first,
    sum_of,
    unfold,
)
from support.enlarging_networks import ENLARGING
from support.networks import Apply, Classifier, Residual, SqueezeExcite, stem

SHAPE = (3, 8, 6, 6)
LENGTHS = (8, 5, 11)


def stem_after(kernel: int) -> nn.Module:
    """A signed convolution of four channels that looks along time."""
    return nn.Conv3d(4, 4, (kernel, 3, 3), padding=(kernel // 2, 1, 1))


# Networks that give one element per frame: every element is compared.
FRAMEWISE = {
    "dense convolution": lambda: nn.Sequential(stem(), stem_after(3)),
    "temporal kernel 5": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0))
    ),
    "even kernel, padding=same": lambda: nn.Sequential(stem(), nn.Conv3d(4, 4, 4, padding="same")),
    "no temporal padding": lambda: nn.Sequential(stem(), nn.Conv3d(4, 4, (3, 1, 1))),
    "more padding than kernel": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, (3, 1, 1), padding=(2, 0, 0)), nn.Conv3d(4, 4, (3, 1, 1))
    ),
    "pointwise kernel with temporal padding": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, 1, padding=(1, 0, 0)), nn.Conv3d(4, 4, 3, padding=(0, 1, 1))
    ),
    "temporal dilation": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, 3, padding=(2, 1, 1), dilation=(2, 1, 1))
    ),
    "depthwise": lambda: nn.Sequential(stem(), nn.Conv3d(4, 4, 3, padding=1, groups=4)),
    "depthwise, time only": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0), groups=4)
    ),
    "depthwise with a multiplier": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 8, (3, 1, 1), padding=(1, 0, 0), groups=4)
    ),
    "grouped": lambda: nn.Sequential(stem(), nn.Conv3d(4, 6, 3, padding=1, groups=2)),
    "depthwise with a stride in space": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, 3, (1, 2, 2), 1, groups=4), stem_after(3)
    ),
    "dilated depthwise with a stride in space": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, 5, (1, 3, 2), (2, 2, 2), (2, 1, 1), groups=4), nn.ReLU()
    ),
    "depthwise with a stride in space, no temporal padding": lambda: nn.Sequential(
        nn.Conv3d(3, 3, (1, 3, 3), padding=(1, 1, 1)),
        nn.Conv3d(3, 3, 3, (1, 2, 2), (0, 1, 1), groups=3),
    ),
    "spatial stride": lambda: nn.Sequential(stem(), nn.Conv3d(4, 4, 3, (1, 2, 2), 1)),
    "max pool": lambda: nn.Sequential(stem(), nn.MaxPool3d(3, 1, 1)),
    "max pool over time, signed input": lambda: nn.Sequential(
        stem(), nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0)), stem_after(3)
    ),
    "max pool, space only": lambda: nn.Sequential(
        stem(), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), stem_after(3)
    ),
    "average pool": lambda: nn.Sequential(stem(), nn.AvgPool3d(3, 1, 1)),
    "norm without a convolution": lambda: nn.Sequential(stem(), nn.ReLU(), nn.BatchNorm3d(4)),
    "one value, two fills": lambda: Apply(
        lambda m, x: m.conv(m.stem(x)) + m.pool(m.stem(x)),
        stem=stem(),
        conv=stem_after(3),
        pool=nn.MaxPool3d(3, 1, 1),
    ),
    "branches of unequal delay": lambda: Apply(
        lambda m, x: torch.cat([m.stem(x), m.deep(m.stem(x)), x], 1),
        stem=stem(),
        deep=nn.Sequential(stem_after(5), stem_after(3)),
    ),
    "gate": lambda: nn.Sequential(stem(), SqueezeExcite(), stem_after(3)),
    "residual": lambda: nn.Sequential(stem(), Residual(), Residual(kernel=5)),
    "activations": lambda: Apply(
        lambda m, x: F.gelu(F.hardswish(m.stem(x)) * 2 - 0.5).clamp(max=1) / 3, stem=stem()
    ),
    "channel slice": lambda: nn.Sequential(Apply(lambda m, x: m.stem(x)[:, 1:], stem=stem())),
    "crop in time": lambda: Apply(
        lambda m, x: m.conv(m.stem(x)[:, :, 1:-2]), stem=stem(), conv=stem_after(3)
    ),
    "crop beside a convolution without padding": lambda: Apply(
        lambda m, x: m.conv(m.stem(x)) + m.stem(x)[:, :, 1:-1],
        stem=stem(),
        conv=nn.Conv3d(4, 4, (3, 3, 3), padding=(0, 1, 1)),
    ),
    "pad in time, with a value": lambda: Apply(
        lambda m, x: m.conv(F.pad(m.stem(x), (1, 0, 0, 1, 2, 1), value=0.7)),
        stem=stem(),
        conv=nn.Conv3d(4, 4, (3, 3, 3), padding=(0, 1, 1)),
    ),
    "temporal stride": lambda: nn.Sequential(
        stem(), nn.Conv3d(4, 4, 3, (2, 1, 1), 1), stem_after(3), nn.Conv3d(4, 4, 3, (2, 1, 1), 1)
    ),
    "temporal stride by slicing": lambda: nn.Sequential(
        Apply(lambda m, x: m.stem(x)[:, :, ::3], stem=stem()), stem_after(3)
    ),
    "strided pools": lambda: nn.Sequential(
        stem(),
        nn.AvgPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0)),
        nn.MaxPool3d((2, 1, 1)),
        stem_after(3),
    ),
    "strided shortcut": lambda: Apply(
        lambda m, x: m.deep(m.stem(x)) + m.shortcut(m.stem(x)),
        stem=stem(),
        deep=nn.Sequential(nn.Conv3d(4, 4, 3, (2, 1, 1), 1), nn.ReLU(), stem_after(3)),
        shortcut=nn.Conv3d(4, 4, 1, (2, 1, 1)),
    ),
    "constant made in forward": lambda: Apply(
        lambda m, x: m.stem(x) * torch.linspace(0.5, 1, 6, dtype=x.dtype), stem=stem()
    ),
    "pad in space": lambda: nn.Sequential(stem(), nn.ConstantPad3d((1, 2, 0, 1, 0, 0), 0.5)),
    "mean without its padding": lambda: nn.Sequential(
        stem(), nn.AvgPool3d(3, 1, 1, count_include_pad=False), stem_after(3)
    ),
    "strided pools that round up": lambda: nn.Sequential(
        stem(),
        nn.AvgPool3d((3, 2, 2), (2, 2, 2), (1, 0, 0), ceil_mode=True),
        nn.MaxPool3d((2, 1, 1), (2, 1, 1), ceil_mode=True),
        stem_after(3),
    ),
    "mean without its padding that rounds up": lambda: nn.Sequential(
        stem(),
        nn.AvgPool3d((4, 1, 1), (3, 1, 1), (2, 0, 0), ceil_mode=True, count_include_pad=False),
        stem_after(3),
    ),
    "mean with a divisor": lambda: nn.Sequential(
        stem(), nn.AvgPool3d(3, 1, 1, divisor_override=5), stem_after(3)
    ),
    "dilated max pool": lambda: nn.Sequential(
        stem(), nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0), dilation=(2, 1, 1)), stem_after(3)
    ),
    "enlarging space": lambda: nn.Sequential(
        stem(), nn.ConvTranspose3d(4, 4, (1, 2, 2), (1, 2, 2)), stem_after(3)
    ),
    "transposed convolution over time": lambda: nn.Sequential(
        stem(),
        nn.ConvTranspose3d(4, 6, (3, 2, 2), (1, 2, 2), (1, 0, 0), groups=2, dilation=(2, 1, 1)),
    ),
    "resizing space": lambda: Apply(
        lambda m, x: F.interpolate(
            F.interpolate(m.stem(x), scale_factor=(1, 2, 2), mode="nearest"),
            size=(x.shape[2], 5, 7),
            mode="trilinear",
        ),
        stem=stem(),
    ),
    "shuffled channels": lambda: Apply(
        lambda m, x: m.conv(
            m.stem(x).view(x.shape[0], 2, 2, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        ),
        stem=stem(),
        conv=stem_after(3),
    ),
    "split, chunk, unbind and select": lambda: Apply(
        lambda m, x: sum_of(
            m.stem(x).split([1, 3], 1)[1].chunk(3, 1)[2],
            m.stem(x).unbind(1)[2].unsqueeze(1),
            m.stem(x).select(4, 3).unsqueeze(-1),
        ),
        stem=stem(),
    ),
    "reordered channels": lambda: Apply(
        lambda m, x: m.conv(m.stem(x).index_select(1, torch.tensor([2, 0, 3, 1])).flip(4, 1)),
        stem=stem(),
        conv=stem_after(3),
    ),
    "gated and sloped": lambda: Apply(
        lambda m, x: m.slope(F.glu(m.stem(x), 1)), stem=stem(), slope=nn.PReLU(2)
    ),
    "layer norm over channels": lambda: Apply(
        lambda m, x: m.norm(m.stem(x).permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3),
        stem=stem(),
        norm=nn.LayerNorm(4),
    ),
    "reductions over channels and space": lambda: Apply(
        lambda m, x: m.stem(x).amax((1, 3), keepdim=True) + m.stem(x).mean((1, 3), keepdim=True),
        stem=stem(),
    ),
    "statistics over channels and space": lambda: Apply(
        lambda m, x: (
            m.stem(x).std(1, keepdim=True)
            + m.stem(x).norm(dim=(3, 4), keepdim=True)
            + m.stem(x).logsumexp(1, keepdim=True)
        ),
        stem=stem(),
    ),
    "masks and choices": lambda: Apply(
        lambda m, x: torch.where(m.conv(m.stem(x)) > 0.1, m.stem(x), x[:, :1].square()),
        stem=stem(),
        conv=stem_after(3),
    ),
    "tiled and expanded": lambda: Apply(
        lambda m, x: (
            m.stem(x) * m.stem(x)[:, :1].expand(-1, 4, -1, -1, -1) + x[:, :2].repeat(1, 2, 1, 1, 1)
        ),
        stem=stem(),
    ),
    "two-dimensional layers on folded frames": lambda: Apply(
        lambda m, x: m.after(unfold(m.norm(F.max_pool2d(m.plane(fold(m.stem(x))), 3, 1, 1)), x)),
        stem=stem(),
        plane=nn.Conv2d(4, 4, 3, padding=1),
        norm=nn.GroupNorm(2, 4),
        after=stem_after(3),
    ),
    "temporal shift by concatenation": lambda: Apply(
        lambda m, x: m.after(m.stem(x) + shift_by_cat(m.stem(x))), stem=stem(), after=stem_after(3)
    ),
    "temporal shift by writing": lambda: Apply(
        lambda m, x: m.after(m.stem(x) + shift_by_writing(m.stem(x))),
        stem=stem(),
        after=stem_after(3),
    ),
    "temporal shift by writing, time before channels": lambda: Apply(
        lambda m, x: m.after(shift_time_first(m.stem(x).transpose(1, 2)).transpose(1, 2)),
        stem=stem(),
        after=stem_after(3),
    ),
    "attention within frames": lambda: Apply(lambda m, x: attend(m.stem(x)), stem=stem()),
    "written into a slice of channels": lambda: Apply(
        lambda m, x: m.after(overwrite(m.stem(x))), stem=stem(), after=stem_after(3)
    ),
    "mirrored borders": lambda: Apply(
        lambda m, x: torch.ops.aten.reflection_pad3d(m.stem(x), [1, 0, 1, 1, 0, 0]), stem=stem()
    ),
    "pixels from channels": lambda: Apply(
        lambda m, x: F.pixel_shuffle(m.stem(x).transpose(1, 2), 2).transpose(1, 2), stem=stem()
    ),
    "norm that returns its statistics": lambda: Apply(
        lambda m, x: torch.native_layer_norm(m.stem(x), (6, 6), None, None, 1e-5)[0], stem=stem()
    ),
    "one channel, as many times": lambda: Apply(
        lambda m, x: (
            m.stem(x).select(1, 2).unsqueeze(1).expand(-1, 3, -1, -1, -1).repeat(1, 2, 1, 1, 1)
        ),
        stem=stem(),
    ),
    **ENLARGING,
}


# Networks with a head: the result after the last step is compared.
HEADS = {
    "mean over time and space": lambda: Classifier(stem()),
    "average pool as long as the clip": lambda: Apply(
        lambda m, x: m.fc(F.avg_pool3d(m.stem(x), (x.shape[2], 6, 6)).flatten(1)),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "adaptive pool": lambda: Apply(
        lambda m, x: m.fc(F.adaptive_avg_pool3d(m.stem(x), 1).flatten(1)),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "space first, channels last": lambda: Apply(
        lambda m, x: m.fc(m.stem(x).mean((3, 4)).permute(0, 2, 1)).mean(1),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "time first": lambda: Apply(
        lambda m, x: m.fc(m.stem(x).mean(2).mean((2, 3))), stem=stem(), fc=nn.Linear(4, 5)
    ),
    "probabilities over a grid": lambda: Apply(
        lambda m, x: (
            m.fc(F.avg_pool3d(m.stem(x), (x.shape[2], 3, 3), 1).permute(0, 2, 3, 4, 1))
            .softmax(-1)
            .mean((1, 2, 3))
        ),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "softmax per frame, then the mean": lambda: Apply(
        lambda m, x: m.fc(m.stem(x).mean((3, 4)).transpose(1, 2)).softmax(-1).mean(1),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "maximum over time and space": lambda: Apply(
        lambda m, x: m.fc(m.stem(x).amax((2, 3, 4))), stem=stem(), fc=nn.Linear(4, 5)
    ),
    # Not over space first: the largest of many signed values hides a zero.
    "smallest and largest over time": lambda: Apply(
        lambda m, x: m.fc(
            torch.cat([f(m.stem(x).mean((3, 4)), 2) for f in (torch.amin, torch.amax)], 1)
        ),
        stem=stem(),
        fc=nn.Linear(8, 5),
    ),
    "adaptive maximum": lambda: Apply(
        lambda m, x: m.fc(F.adaptive_max_pool3d(m.stem(x), 1).flatten(1)),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "sum over time": lambda: Apply(
        lambda m, x: m.fc(m.stem(x).sum((2, 3, 4)) / 100), stem=stem(), fc=nn.Linear(4, 5)
    ),
    "adaptive in space, then the mean": lambda: Apply(
        lambda m, x: m.fc(F.adaptive_avg_pool3d(m.stem(x), (1, 2, 3)).flatten(1)),
        stem=stem(),
        fc=nn.Linear(24, 5),
    ),
    "convolutions over vectors": lambda: Apply(
        lambda m, x: m.fc(m.deep(m.stem(x).mean((3, 4))).mean(2)),
        stem=stem(),
        deep=nn.Sequential(
            nn.Conv1d(4, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv1d(4, 4, 3, 1, 1, groups=2)
        ),
        fc=nn.Linear(4, 5),
    ),
    "convolutions over rows": lambda: Apply(
        lambda m, x: m.fc(m.deep(m.stem(x).mean(4)).mean((2, 3))),
        stem=stem(),
        deep=nn.Sequential(
            nn.Conv2d(4, 4, (5, 3), padding=(2, 1)), nn.BatchNorm2d(4), nn.AvgPool2d((3, 2), 1)
        ),
        fc=nn.Linear(4, 5),
    ),
    "pools over vectors": lambda: Apply(
        lambda m, x: m.fc(
            F.max_pool1d(F.avg_pool1d(m.stem(x).mean((3, 4)), 3, 1, 1), 3, 1, 1).mean(2)
        ),
        stem=stem(),
        fc=nn.Linear(4, 5),
    ),
    "folded frames, consensus of their scores": lambda: Apply(
        lambda m, x: m.fc(m.plane(fold(m.stem(x))).mean((2, 3))).view(x.shape[0], -1, 5).mean(1),
        stem=stem(),
        plane=nn.Conv2d(4, 4, 3),
        fc=nn.Linear(4, 5),
    ),
}

# Heads that take the clip's last element have no window.
LAST = {
    "last frame": lambda: Apply(
        lambda m, x: m.fc(m.stem(x).mean((3, 4))[:, :, -1]), stem=stem(), fc=nn.Linear(4, 5)
    ),
}


def two_pathways() -> nn.Module:
    """A slow and a fast pathway with a lateral connection, in the manner of SlowFast."""

    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        fast = m.fast(x)
        slow = torch.cat([m.slow(x[:, :, ::4]), m.lateral(fast)], 1)
        slow = m.fuse(slow)
        pooled = torch.cat([slow.mean((2, 3, 4)), m.deep(fast).mean((2, 3, 4))], 1)
        return m.fc(pooled)

    return Apply(
        forward,
        fast=stem(),
        slow=stem(),
        lateral=nn.Conv3d(4, 4, (5, 1, 1), (4, 1, 1), (2, 0, 0)),
        fuse=nn.Conv3d(8, 4, 3, padding=1),
        deep=nn.Sequential(stem_after(5), nn.ReLU(), stem_after(3)),
        fc=nn.Linear(8, 5),
    )


def list_all() -> dict[str, Callable[[], nn.Module]]:
    """The networks of all rules, by name."""
    groups = [group for group in globals().values() if isinstance(group, dict) and group]
    return {
        name: make
        for group in groups
        if all(callable(make) for make in group.values())
        for name, make in group.items()
        if isinstance(name, str)
    }
