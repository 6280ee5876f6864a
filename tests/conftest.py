"""Fixtures shared by all tests."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# How long an example takes says nothing on machines that others use too.
settings.register_profile("co3d", deadline=None)
settings.load_profile("co3d")

# Without a GPU, Triton's kernels run in its interpreter; read when triton is first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Small networks run faster on one thread, far more so where the cores are shared.
torch.set_num_threads(1)

# Tests send Ctrl-C, which the background jobs of a shell ignore, and hang up, which nohup lets them
# ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Tests neither see nor fill the cache of whoever runs them.

    Workers have one together, which they inherit: so kernels are built once. Their threads are more
    than cores, and must not spin while they wait for one another.
    """
    if not hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        cache = tempfile.TemporaryDirectory()
        config.add_cleanup(cache.cleanup)
        os.environ["CO3D_CACHE"] = cache.name


@pytest.fixture(scope="module", autouse=True)
def _collect_what_tests_leave_alone() -> None:
    """Keep what has come to stay out of garbage collections.

    Modules, operators and tests are a million objects, and going through them all again and again
    took a fifth of each conversion.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "auto" find the first candidate the quickest, and not take the time."""
    # Not before the environment is set.
    from co3d.runtime import choice
    from co3d.runtime.measure import Measured, StepCost

    def take_first(program, precision, backends, thread_counts) -> list[Measured]:
        return [
            Measured(name, thread_counts[-1], StepCost(1e-3 * place, 1e-3 * place))
            for place, name in enumerate(backends, 1)
        ]

    monkeypatch.setattr(choice, "measure_candidates", take_first)


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
