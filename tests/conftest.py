"""Fixtures shared by all tests."""

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from support.network_exports import export_networks_once
from support.onnx_exports import export_once

# How long an example takes says nothing on machines that others use too.
settings.register_profile("co3d", deadline=None)
settings.load_profile("co3d")

# Without a GPU, Triton's kernels run in its interpreter; read when triton is first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Small networks run faster on one thread, far more so where the cores are shared.
torch.set_num_threads(1)

# Torch describes each operator that it exports where this log has a handler, and pytest gives one
# to every log that does not hand its records on.
logging.getLogger("torch.__trace").propagate = True

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


def pytest_unconfigure() -> None:
    """Let Python's end free what tests kept out of collections, or packages report it as leaked."""
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def _collect_what_tests_leave_alone() -> None:
    """Keep what has come to stay out of garbage collections.

    Modules, operators and tests are a million objects, and going through them all again and again
    took a fifth of each conversion.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _leave_no_threads() -> Iterator[None]:
    """Require that what a module's tests have closed ends its threads, within seconds.

    The thread that prepares a faster backend may take longer, since it compiles kernels.
    """
    before = set(threading.enumerate())

    def list_left() -> list[str]:
        left = {thread.name for thread in set(threading.enumerate()) - before}
        return [name for name in left - {"co3d successor"} if name.startswith("co3d ")]

    yield
    deadline = time.monotonic() + 10
    while list_left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list_left(), "threads that outlive their module's tests"


@pytest.fixture(autouse=True)
def _measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "auto" find the first candidate the quickest, and not take the time."""
    # Not before the environment is set.
    from co3d.runtime import choice
    from co3d.runtime.measure import Measured, StepTime

    def take_first(program, precision, backends, thread_counts) -> list[Measured]:
        return [
            Measured(name, thread_counts[-1], StepTime(1e-3 * place, 1e-3 * place))
            for place, name in enumerate(backends, 1)
        ]

    monkeypatch.setattr(choice, "measure_candidates", take_first)


@pytest.fixture(scope="session", autouse=True)
def _export_once() -> Iterator[None]:
    """Export equal networks, and equal step graphs to ONNX, once per process."""
    with export_networks_once(), export_once():
        yield


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


@pytest.fixture(scope="session")
def children():
    """A sandbox whose processes serve several tests, one after the other."""
    from co3d.sandbox import READING_LIMITS, Sandbox

    sandbox = Sandbox(READING_LIMITS)
    yield sandbox
    sandbox.close()


@pytest.fixture
def read_in_children(children, monkeypatch: pytest.MonkeyPatch):
    """Read videos and make clips in other processes from its call on."""
    if sys.platform == "win32":
        pytest.skip("no memory is shared there")
    return lambda: monkeypatch.setattr("co3d.sandbox._reading", [children])


@pytest.fixture(params=["here", "sandbox"])
def sandboxed_or_not(request: pytest.FixtureRequest) -> None:
    """Who reads videos and makes clips: this process, or others."""
    if request.param == "sandbox":
        request.getfixturevalue("read_in_children")()
