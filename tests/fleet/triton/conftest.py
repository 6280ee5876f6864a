from functools import cache

import numpy as np
import pytest
import torch

import co3d
from co3d.compiler import StepProgram, convert
from co3d.runtime.compiled import CompiledProgram
from support.networks import small_network
from support.streaming import randomise_

FRAME = (3, 6, 6)


@cache
def _convert(edges: str) -> StepProgram:
    torch.manual_seed(0)
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges=edges)  # type: ignore[arg-type]


@pytest.fixture(params=["start", "both"])
def program(request: pytest.FixtureRequest) -> StepProgram:
    return _convert(request.param)


@pytest.fixture
def compiled(program: StepProgram) -> CompiledProgram:
    return co3d.compile(program, backend="torch")


@pytest.fixture
def videos() -> dict[int | str, list[np.ndarray]]:
    """Two videos of nine frames (1, C, H, W), by the names of their sequences."""
    random = np.random.default_rng(0)
    return {
        name: [random.standard_normal((1, *FRAME), np.float32) for _ in range(9)]
        for name in (7, "door")
    }
