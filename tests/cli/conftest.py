import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from co3d.cli.main import run
from co3d.engine import Engine, Labeller, open_labeller
from support.videos import write_video


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@functools.cache
def _open_labeller_once(*arguments: Any, **options: Any) -> Labeller:
    """What `open_labeller` gives, converted once for all tests of this process."""
    return open_labeller(*arguments, **options)


def _reuse_labeller(*arguments: Any, exported: Any = None, **options: Any) -> Labeller:
    if exported is not None:
        return open_labeller(*arguments, exported=exported, **options)
    return _open_labeller_once(*arguments, **options)


@pytest.fixture
def co3d(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run the command line in this process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # `run` sets its own
    monkeypatch.setattr("co3d.cli.stream.open_labeller", _reuse_labeller)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = exit_info.value.code
        return Outcome(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of evaluations without pictures, which take a third of a small one."""
    monkeypatch.setattr("co3d.evaluation.report.draw_pictures", lambda *_: {})


@pytest.fixture
def spawn_co3d() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the command line in a process of its own, on one thread."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", "from co3d.cli.main import run; run()", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds at 16 frames per second."""
    return write_video(tmp_path_factory.mktemp("cli") / "video.mkv", 48)


@pytest.fixture(scope="session")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes at 8 frames per second."""
    path = tmp_path_factory.mktemp("cli") / "long.mp4"
    return write_video(path, 2000, rate_hz=8.0, size=(64, 48))


@pytest.fixture
def engine_once(monkeypatch):
    """Opens each engine of these tests with one compiled program."""
    import co3d.cli.watch as watch

    def open_engine(model: str, **options) -> Engine:
        limits = {name: options.pop(name) for name in ("workers", "load_limit") if name in options}
        labeller = _open_labeller_once(model, weights="random")
        return Engine(labeller.compiled, labeller.card, **limits)

    monkeypatch.setattr(watch, "open_engine", open_engine)


@pytest.fixture
def co3d_watch(co3d, engine_once):
    return co3d
