"""Networks from the packages that people install, converted as they are.

Small frames, few of them, random weights. `make test-slow` installs the packages, in a folder of
their own beside the environment's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from support.installed_packages import load_package
from support.streaming import randomise_, worst_error

pytestmark = pytest.mark.slow


def _torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(load_package("torchvision.models.video"), name)(
        weights=None, num_classes=5
    )


def _x3d() -> nn.Module:
    return load_package("pytorchvideo.models.x3d").create_x3d(
        input_clip_length=4, input_crop_size=32, model_num_class=5
    )


def _slow() -> nn.Module:
    return load_package("pytorchvideo.models.resnet").create_resnet(
        model_depth=50, model_num_class=5, head_pool_kernel_size=(4, 1, 1)
    )


def _i3d() -> nn.Module:
    return load_package("pytorchvideo.models.hub").i3d_r50(
        model_num_class=5, head_pool_kernel_size=(4, 1, 1)
    )


def _csn() -> nn.Module:
    return load_package("pytorchvideo.models.csn").create_csn(
        model_depth=50, model_num_class=5, head_pool_kernel_size=(1, 1, 1)
    )


def _r2plus1d() -> nn.Module:
    return load_package("pytorchvideo.models.r2plus1d").create_r2plus1d(
        model_depth=50, model_num_class=5, head_pool_kernel_size=(2, 2, 2)
    )


class _OneClip(nn.Module):
    """A SlowFast that picks its slow pathway's frames from the clip."""

    def __init__(self, network: nn.Module, alpha: int) -> None:
        super().__init__()
        self.network = network
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return self.network([x[:, :, :: self.alpha], x])


def _slowfast() -> nn.Module:
    network = load_package("pytorchvideo.models.slowfast").create_slowfast(
        model_depth=50, model_num_class=5, head_pool_kernel_sizes=((2, 1, 1), (8, 1, 1))
    )
    return _OneClip(network, 4)


@dataclass(frozen=True)
class Case:
    """A network, the clips that it takes, and how many elements its strides leave of a frame."""

    make: Callable[[], nn.Module]
    frames: int
    size: int
    temporal_stride: int = 1
    approximated: bool = False


CASES = {
    "torchvision r3d_18": Case(_torchvision("r3d_18"), 8, 16, 8),
    "torchvision mc3_18": Case(_torchvision("mc3_18"), 4, 16),
    "torchvision r2plus1d_18": Case(_torchvision("r2plus1d_18"), 8, 16, 8),
    "torchvision s3d": Case(_torchvision("s3d"), 24, 224, 8),
    "pytorchvideo x3d": Case(_x3d, 4, 32, approximated=True),
    "pytorchvideo slow": Case(_slow, 4, 32),
    "pytorchvideo i3d": Case(_i3d, 8, 32, 2),
    "pytorchvideo slowfast": Case(_slowfast, 8, 32, 4),
    "pytorchvideo csn": Case(_csn, 8, 32, 8),
    "pytorchvideo r2plus1d": Case(_r2plus1d, 8, 64, 4),
}


@pytest.mark.parametrize("name", CASES)
def test_network_as_installed_equals_clip(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = randomise_(case.make()).double()
    shape = (3, case.frames, case.size, case.size)
    program = convert(model, shape, edges="both")
    assert program.temporal_stride == case.temporal_stride
    assert bool(program.approximations) == case.approximated
    assert not program.fallbacks
    assert worst_error(model, program, [case.frames]) <= 1e-9
    if case.temporal_stride > 1:
        native = convert(model, shape, edges="both", rate="native")
        assert worst_error(model, native, [case.frames]) <= 1e-9
