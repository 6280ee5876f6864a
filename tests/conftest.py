"""Fixtures shared by all tests."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
import torch

# Without a GPU, Triton's kernels run in its interpreter; read when triton is first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Small networks run faster on one thread, far more so where the cores are shared.
torch.set_num_threads(1)

# Tests send Ctrl-C, which the background jobs of a shell ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Tests neither see nor fill the cache of whoever runs them.

    Workers have one together, which they inherit: so kernels are built once.
    """
    if not hasattr(config, "workerinput"):
        cache = tempfile.TemporaryDirectory()
        config.add_cleanup(cache.cleanup)
        os.environ["CO3D_CACHE"] = cache.name


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
