"""PyTorch runs programs that rerun a part on whole clips, since their graphs fix the batch size."""

import pytest
import torch

from co3d.backends.torch_eager import TorchExecutor
from co3d.compiler import convert
from co3d.runtime.compiled import CompiledProgram
from support.gpu import open_executor
from support.networks import Apply, stem
from support.streaming import randomise_, relative_error

pytestmark = pytest.mark.slow


def test_pytorch_runs_them_for_any_number_of_slots() -> None:
    torch.manual_seed(0)
    network = randomise_(Apply(lambda m, x: m.stem(x).flip(2).mean((3, 4)), stem=stem()))
    program = convert(network, (3, 4, 4, 4), fallback=True)
    executor = open_executor("float32")
    compiled = CompiledProgram(program, executor, executor.load(program), "triton")
    exact = TorchExecutor(torch.float64, torch.device("cpu"), 1)
    reference = CompiledProgram(program, exact, exact.load(program), "reference")
    slots, others = ([one.open() for _ in range(3)] for one in (compiled, reference))
    for _ in range(6):
        frames = torch.randn(3, 3, 4, 4)
        made = compiled.step(slots, frames).output
        expected = reference.step(others, frames).output
        if expected.any():
            assert relative_error(made.cpu().double(), expected) < 1e-5
