"""A program that also returns features otherwise equals the program without them."""

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.parity.features import convert_with_features
from co3d.runtime import open_stream
from support.networks import small_network
from support.rule_networks import two_pathways
from support.streaming import make_clips, randomise_, relative_error

FRAME = (3, 6, 6)


def _steps(program, frames: int = 12) -> list:
    stream = open_stream(program, backend="torch", precision="float64")
    (clip,) = make_clips([frames], FRAME, torch.float64)
    return [stream.step(clip[None, :, t]) for t in range(frames)]


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize("build", [small_network, two_pathways])
def test_scores_and_timing_do_not_change_and_features_give_the_scores(build, rate) -> None:
    torch.manual_seed(0)
    model = randomise_(build()).double()
    clip_shape = (3, 8, 6, 6)
    program, has_features = convert_with_features(model, clip_shape, rate=rate, window=2)
    plain = convert(model, clip_shape, rate=rate, window=2)
    assert has_features
    assert program.timing == plain.timing
    assert program.states == plain.states
    (classifier,) = (m for m in model.modules() if isinstance(m, nn.Linear))
    for result, expected in zip(_steps(program), _steps(plain), strict=True):
        scores, features = result.output
        assert torch.equal(scores, expected.output)
        assert torch.equal(result.valid, expected.valid)
        if result.fresh[0]:
            with torch.inference_mode():
                assert relative_error(classifier(features), scores) <= 1e-12


def test_the_classifier_may_be_a_convolution_before_a_pool() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.classifier = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(self.body(x).relu()).mean((2, 3, 4))

    program, has_features = convert_with_features(Head(), (3, 6, 6, 6))
    assert has_features
    assert program.output_shapes == ((5,), (4, 6, 6))


def test_a_network_without_a_classifier_has_no_features() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3, 4))

    program, has_features = convert_with_features(Mean(), (3, 6, 6, 6))
    assert not has_features
    assert program.output_shapes == ((3,),)
