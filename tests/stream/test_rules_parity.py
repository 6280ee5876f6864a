"""One small network per rule: steps + flush equal the clip network, for odd and ragged lengths."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from co3d.stream import convert
from support.networks import Apply, Classifier, Residual, SqueezeExcite, stem
from support.streaming import make_clips, randomise_, relative_error, run_steps, worst_error

LENGTHS = (8, 5, 11)

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
}


def stem_after(kernel: int) -> nn.Module:
    return nn.Conv3d(4, 4, (kernel, 3, 3), padding=(kernel // 2, 1, 1))


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
}


# torch says so of every even kernel with padding="same"; that case is here on purpose.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", FRAMEWISE)
def test_framewise_network_equals_clip(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(FRAMEWISE[name]()).double()
    program = convert(model, (3, 8, 6, 6), edges="both")
    assert worst_error(model, program, LENGTHS, time_axis=1) <= 1e-10


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


@pytest.mark.parametrize("name", HEADS)
def test_head_equals_clip(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(HEADS[name]()).double()
    program = convert(model, (3, 8, 6, 6), edges="both", window=12)
    assert worst_error(model, program, LENGTHS) <= 1e-10


def test_pathways_of_two_rates_equal_clip() -> None:
    torch.manual_seed(0)
    model = randomise_(two_pathways()).double()
    program = convert(model, (3, 8, 6, 6), edges="both", window=3)
    assert program.temporal_stride == 4
    assert worst_error(model, program, [8, 4, 12]) <= 1e-10


def test_pathways_of_two_rates_slide_by_one_frame() -> None:
    """Away from the edges every step equals the clip network on the frames it has seen."""
    torch.manual_seed(0)
    model = randomise_(two_pathways()).double()
    program = convert(model, (3, 8, 6, 6), edges="none")
    (clip,) = make_clips([64], (3, 6, 6), torch.float64)
    (outputs,) = run_steps(program, [clip])
    # The pools of a long clip, restricted to the window: what the network computes inside it.
    for step in (50, 55, 61):
        newest = step - program.delay
        first = newest % 4
        shifted = clip[None, :, first:]
        with torch.inference_mode():
            fast = model.fast(shifted)
            slow = model.fuse(torch.cat([model.slow(shifted[:, :, ::4]), model.lateral(fast)], 1))
            deep = model.deep(fast)
            last_slow = (newest - first) // 4
            last_fast = newest - first + 3
            pooled = torch.cat(
                [
                    slow[:, :, last_slow - 1 : last_slow + 1].mean((2, 3, 4)),
                    deep[:, :, last_fast - 7 : last_fast + 1].mean((2, 3, 4)),
                ],
                1,
            )
            expected = model.fc(pooled)[0]
        assert relative_error(outputs[step], expected) <= 1e-10
