"""X3D: shapes, refusals, sizes, and what the head does with a larger map."""

import pytest
import torch

from co3d.errors import InputShapeError
from co3d.models.x3d import X3D


def small() -> X3D:
    """X3D-S for 64 px with weights under which every block matters."""
    torch.manual_seed(0)
    model = X3D(2.2, crop_px=64, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.nn.init.normal_(model.head.classifier.weight, std=0.5)
    return model


@pytest.mark.parametrize("shape", [(1, 3, 1, 32, 32), (2, 3, 3, 33, 47), (1, 3, 7, 64, 50)])
def test_clips_of_any_length_and_size_are_accepted(shape: tuple[int, ...]) -> None:
    with torch.no_grad():
        assert small()(torch.randn(shape)).shape == (shape[0], 5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 4, 64, 64), "expected (N, 3, T, H, W)"),
        ((1, 4, 4, 64, 64), "expected (N, 3, T, H, W)"),
        ((1, 3, 0, 64, 64), "T >= 1 frames"),
        ((0, 3, 4, 64, 64), "N >= 1 clips"),
        ((1, 3, 4, 31, 64), "the least is 32x32 px"),
        ((1, 3, 4, 64, 31), "the least is 32x32 px"),
    ],
)
def test_clips_of_a_wrong_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputShapeError) as caught:
        small()(torch.zeros(shape))
    assert message in str(caught.value)
    assert str(shape[3:] if "px" in message else shape)[1:-1].split(",")[0] in str(caught.value)


def test_initial_weights_follow_the_published_training_code() -> None:
    torch.manual_seed(0)
    model = X3D(2.2, 64)
    block = model.stages[2][0]
    assert torch.count_nonzero(block.project_norm.weight) == 0
    assert torch.all(block.expand_norm.weight == 1)
    fan_out = block.expand.out_channels
    assert block.expand.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert model.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
