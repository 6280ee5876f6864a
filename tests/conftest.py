"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch

# Small networks run faster on one thread, far more so where the cores are shared.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of oracles and awkward videos that lies beside a checkout."""
    path = Path(__file__).parents[2] / "shared"
    if not path.is_dir():
        message = f"{path} is absent: oracles and real videos cannot be checked"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path
