"""Unrolled clip networks equal the clip networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.compiler.unroll import unroll_clip
from co3d.errors import ConversionError
from support import rule_networks
from support.networks import Apply, Classifier, Residual, SqueezeExcite, stem
from support.streaming import randomise_, relative_error

SHAPE = (3, 9, 12, 12)
RULES = rule_networks.list_all()


def _pools(self: nn.Module, clip: Tensor) -> tuple[Tensor, ...]:
    """Windows that extend beyond the clip, on signed numbers; booleans, and two outputs."""
    made = self.stem(clip)
    mean = F.avg_pool3d(made, (3, 1, 1), (2, 1, 1), (1, 0, 0), count_include_pad=False)
    most = F.max_pool3d(-made.abs(), (3, 2, 2), (2, 2, 2), (1, 0, 0))
    return mean.mean((2, 3, 4)), most, (made > 0) * made


NETWORKS = {
    "classifier": Classifier(stem(), Residual(), SqueezeExcite(), Residual(kernel=5)),
    "strides": Classifier(stem(), nn.Conv3d(4, 4, 3, (2, 2, 2), 1), nn.Conv3d(4, 4, 3, 2, 1)),
    "dilation and no padding": nn.Sequential(stem(), nn.Conv3d(4, 4, 3, dilation=(2, 1, 1))),
    "pools": Apply(_pools, stem=stem()),
}


def _compare(network: nn.Module, shape: tuple[int, ...]) -> None:
    program = convert(network.eval(), shape)
    unrolled = unroll_clip(program)
    clip = torch.randn(2, *shape)
    with torch.no_grad():
        expected = program.clip_graph(clip)
        actual = unrolled(*clip.unbind(2))
    for one, other in zip(
        actual, expected if isinstance(expected, tuple) else (expected,), strict=True
    ):
        assert one.shape == other.shape
        assert relative_error(one.double(), other.double()) <= 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_unrolled_clips_equal_clips(name: str) -> None:
    torch.manual_seed(0)
    _compare(randomise_(NETWORKS[name]), SHAPE)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if i % 8 == 0 else [pytest.mark.slow])
        for i, name in enumerate(sorted(RULES))
    ],
)
def test_clips_of_every_rule_unroll(name: str) -> None:
    torch.manual_seed(0)
    _compare(RULES[name](), rule_networks.SHAPE)


def test_programs_that_rerun_clips_are_refused() -> None:
    class Flipped(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            return clip.flip(2).mean((2, 3, 4))

    program = convert(Flipped(), SHAPE, fallback=True)
    with pytest.raises(ConversionError, match="run the clip network itself"):
        unroll_clip(program)
