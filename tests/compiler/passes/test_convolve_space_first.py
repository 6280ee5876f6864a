"""Which convolutions are split into taps, without any other change."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.compiler.options import ConvertOptions
from co3d.compiler.pipeline import prepare
from co3d.compiler.prepared import Prepared
from co3d.compiler.rules.tap_sum import sum_taps
from support.networks import Apply
from support.streaming import worst_error

SHAPE = (8, 9, 12, 12)


def count_split(prepared: Prepared) -> int:
    return sum(node.target is sum_taps for node in prepared.clip_graph.graph.nodes)


def prepare_and_compare(network: nn.Module) -> Prepared:
    """Check that both graphs equal the network, and that only one of them has taps."""
    prepared = prepare(network.eval().double(), [SHAPE], ConvertOptions())
    clip = torch.randn(1, *SHAPE, dtype=torch.float64)
    for graph in (prepared.clip_graph, prepared.whole_graph):
        torch.testing.assert_close(graph(clip), network(clip), rtol=1e-12, atol=1e-12)
    assert all(node.target is not sum_taps for node in prepared.whole_graph.graph.nodes)
    return prepared


def depthwise(kernel: int = 3, stride: int = 2, **options: object) -> nn.Module:
    options = {"padding": kernel // 2, "groups": 8} | options
    return nn.Conv3d(8, 8, kernel, (1, stride, stride), **options)  # type: ignore[arg-type]


def find_split(convolutions: Sequence[nn.Module]) -> list[int]:
    """The indices of the convolutions that are split, each of which reads another value."""

    def forward(m: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(convolve(scale * x) for scale, convolve in enumerate(m.all, 2))

    network = Apply(forward, all=nn.ModuleList(convolutions))
    nodes = prepare_and_compare(network).clip_graph.graph.nodes
    paths = [n.meta["origin"].module_path for n in nodes if n.target is sum_taps]
    return [int(path.rpartition(".")[2]) for path in paths]


def test_taps_that_are_smaller_than_their_frames_are_split() -> None:
    torch.manual_seed(0)
    convolutions = [
        depthwise(),
        depthwise(bias=False),
        depthwise(5),
        depthwise(stride=3, dilation=(3, 1, 1), padding=(3, 1, 1)),
        depthwise(padding=(0, 1, 1)),
        depthwise(dilation=(1, 2, 1)),
    ]
    assert find_split(convolutions) == list(range(len(convolutions)))


def test_consecutive_convolutions_are_both_split() -> None:
    torch.manual_seed(0)
    assert count_split(prepare_and_compare(nn.Sequential(depthwise(), depthwise()))) == 2


def test_other_convolutions_are_not_split() -> None:
    torch.manual_seed(0)
    convolutions = [
        depthwise(stride=1),  # the results are as large as the frames
        nn.Conv3d(8, 24, 3, (1, 2, 2), 1, groups=8),  # nearly so: three times as many channels
        depthwise(9, padding=(4, 4, 4)),  # many taps: 36 results of a quarter, against 8 frames
        nn.Conv3d(8, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1), groups=8),  # nothing is remembered
        nn.Conv3d(8, 8, 3, (1, 2, 2), 1, groups=2),
        nn.Conv3d(8, 8, 3, (1, 2, 2), 1),
        depthwise(padding=(2, 1, 1)),  # an output before the first frame has no tap of its own
        depthwise(dilation=(2, 1, 1), padding=(1, 1, 1)),  # nor has any here
    ]
    assert find_split(convolutions) == []


def test_convolutions_with_a_stride_in_time_are_not_split() -> None:
    torch.manual_seed(0)
    assert count_split(prepare_and_compare(nn.Conv3d(8, 8, 3, 2, 1, groups=8))) == 0


def test_convolutions_of_frames_with_other_readers_are_not_split() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.first(x)
        return m.strided(x) + x[..., ::2, ::2]

    torch.manual_seed(0)
    network = Apply(forward, first=nn.Conv3d(8, 8, 1), strided=depthwise())
    assert count_split(prepare_and_compare(network)) == 0


def test_convolutions_of_frames_in_the_batch_are_not_split() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        frames = x.transpose(1, 2).reshape(n * t, c, 1, h, w)
        made = m.strided(frames)
        return made.view(n, t, *made.shape[1:]).squeeze(3).transpose(1, 2)

    torch.manual_seed(0)
    assert count_split(prepare_and_compare(Apply(forward, strided=depthwise()))) == 0


def test_rerun_convolutions_are_not_split() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.strided(x * torch.arange(SHAPE[1]).view(-1, 1, 1)).mean((2, 3, 4))

    torch.manual_seed(0)
    network = Apply(forward, strided=depthwise())
    assert convert(network, SHAPE, fallback=True).fallbacks
    assert count_split(prepare(network, [SHAPE], ConvertOptions(fallback=True))) == 0


def test_taps_may_be_made_at_different_ticks() -> None:
    """With `spread`, taps are distributed over the frames of a stride by their cost."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(8, 8, 1, (4, 1, 1)), depthwise()).double()
    program = convert(network, SHAPE, edges="both", rate="native", spread=True)
    delays = {row.delay for row in program.rows if "tap" in row.name and row.name != "sum_taps"}
    assert len(delays) > 1
    assert worst_error(network, program, (9, 8, 13), time_axis=1) <= 1e-10
