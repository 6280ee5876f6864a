"""Which convolutions are split into their taps, and that nothing else changes."""

import pytest
import torch
from torch import Tensor, nn

from co3d.stream.capture import capture
from co3d.stream.passes import convolve_space_first
from co3d.stream.rules.tap_sum import sum_taps
from support.networks import Apply


def count_split(network: nn.Module) -> int:
    """How many convolutions the pass splits, where it leaves the clip network's output as it is."""
    shape = (8, 9, 12, 12)
    clip_graph = capture(network.eval().double(), [shape]).clip_graph
    clip = torch.randn(1, *shape, dtype=torch.float64)
    (before,) = clip_graph(clip)
    convolve_space_first(clip_graph)
    clip_graph.recompile()
    (after,) = clip_graph(clip)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    return sum(node.target is sum_taps for node in clip_graph.graph.nodes)


def depthwise(kernel: int = 3, stride: int = 2, **options: object) -> nn.Module:
    options = {"padding": kernel // 2, "groups": 8} | options
    return nn.Conv3d(8, 8, kernel, (1, stride, stride), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "network",
    [
        depthwise(),
        depthwise(bias=False),
        depthwise(5),
        depthwise(stride=3, dilation=(3, 1, 1), padding=(3, 1, 1)),
        depthwise(padding=(0, 1, 1)),
        depthwise(dilation=(1, 2, 1)),
    ],
)
def test_taps_that_are_smaller_than_their_frames_are_split(network: nn.Module) -> None:
    torch.manual_seed(0)
    assert count_split(network) == 1


@pytest.mark.parametrize(
    "network",
    [
        depthwise(stride=1),  # the results are as large as the frames
        nn.Conv3d(8, 24, 3, (1, 2, 2), 1, groups=8),  # nearly so: three times as many channels
        depthwise(9, padding=(4, 4, 4)),  # many taps: 36 results of a quarter, against 8 frames
        nn.Conv3d(8, 8, 3, 2, 1, groups=8),  # a stride in time
        nn.Conv3d(8, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1), groups=8),  # nothing is remembered
        nn.Conv3d(8, 8, 3, (1, 2, 2), 1, groups=2),
        nn.Conv3d(8, 8, 3, (1, 2, 2), 1),
        depthwise(padding=(2, 1, 1)),  # an output before the first frame has no tap of its own
        depthwise(dilation=(2, 1, 1), padding=(1, 1, 1)),  # nor has any here
    ],
)
def test_others_stay_whole(network: nn.Module) -> None:
    torch.manual_seed(0)
    assert count_split(network) == 0


def test_what_others_read_too_is_remembered_as_frames() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.first(x)
        return m.strided(x) + x[..., ::2, ::2]

    torch.manual_seed(0)
    network = Apply(forward, first=nn.Conv3d(8, 8, 1), strided=depthwise())
    assert count_split(network) == 0
