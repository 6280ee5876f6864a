"""Step graphs of networks that enlarge time, on every backend of the CPU."""

import pytest
import torch

from co3d.compiler import convert
from support.enlarging_networks import UNet
from support.slow import slow_but
from support.streaming import randomise_, worst_error


@pytest.mark.parametrize("backend", ["torch", "native", "onnxruntime", "openvino"])
@pytest.mark.parametrize("up", slow_but(["transposed", "trilinear"], "transposed"))
def test_steps_equal_clips(up: str, backend: str) -> None:
    torch.manual_seed(0)
    model = randomise_(UNet(up))
    program = convert(model, (3, 8, 8, 8), edges="both")
    assert worst_error(model, program, (8, 16, 4), 1, backend=backend) <= 1e-5
