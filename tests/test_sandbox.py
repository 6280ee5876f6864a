"""Calls in a process of their own."""

import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from co3d.datasets.doctor import examine_all, rounds
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError, OptionError, SandboxError
from co3d.sandbox import Sandbox, SandboxLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
LIMITS = SandboxLimits(memory_bytes=2**28, cpu_seconds=1)


def add(first: int, second: int) -> int:
    return first + second


def warn(text: str) -> None:
    logging.getLogger("co3d.test").warning("%s %d", text, 1)


def make_function() -> object:
    return lambda: None


def refuse() -> None:
    raise DataError("no")


def take(size: int) -> int:
    return len(bytes(size))


def spin() -> None:
    while True:
        pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def examine(path: Path, _rate_hz: float | None) -> None:
    die()


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(LIMITS)
    yield made
    made.close()


def test_results_and_errors_come_back(sandbox):
    assert sandbox.run(add, 2, 3) == 5
    with pytest.raises(DataError, match="no"):
        sandbox.run(refuse)
    assert sandbox.run(os.getpid) != os.getpid()


def test_too_much_memory_raises_and_the_child_survives(sandbox):
    child = sandbox.run(os.getpid)
    assert sandbox.run(take, 2**20) == 2**20
    with pytest.raises(SandboxError, match="more than 256 MiB"):
        sandbox.run(take, 2**29)
    assert sandbox.run(os.getpid) == child


@pytest.mark.slow
@pytest.mark.parametrize(("call", "said"), [(die, "exit code -11"), (spin, "1 s of CPU time")])
def test_a_dead_child_process_is_replaced(sandbox, call, said):
    with pytest.raises(SandboxError, match=said):
        sandbox.run(call)
    assert sandbox.run(add, 2, 3) == 5


def test_a_video_that_kills_its_process_ends_no_run(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "examine", examine)
    (tmp_path / "a.mp4").touch()
    manifest = Manifest(tmp_path, ("run",), (VideoEntry("a", "a.mp4", (0,)),))
    found = examine_all(manifest, tmp_path / "log.jsonl", 1, sandbox=sandbox)
    assert found["a.mp4"].state == "unreadable"
    assert "exit code -11" in found["a.mp4"].reason


def test_closing_ends_a_call(monkeypatch):
    sandbox = Sandbox()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(sandbox.run, time.sleep, 60)
        while not any(child.is_answering for child in sandbox._busy):
            time.sleep(0.01)
        sandbox.close()
        with pytest.raises(SandboxError):
            call.result()


def test_modules_of_the_working_folder_are_not_run(tmp_path, monkeypatch):
    for name in ("json", "pickle", "select", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path)
    opened = Sandbox()
    assert opened.run(add, 1, 1) == 2
    opened.close()


def test_logs_come_back(sandbox, caplog):
    sandbox.run(warn, "mind")
    assert [(r.name, r.getMessage()) for r in caplog.records] == [("co3d.test", "mind 1")]


def test_a_result_that_cannot_be_pickled_raises(sandbox):
    with pytest.raises(SandboxError, match="cannot be handed over"):
        sandbox.run(make_function)


def test_limits_are_above_zero():
    with pytest.raises(OptionError, match="cpu_seconds=0"):
        SandboxLimits(cpu_seconds=0)
