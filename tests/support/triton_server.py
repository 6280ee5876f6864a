"""A Triton server on loopback, of the environment that `make test-slow` installs."""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.environments import find_environment

_CLIENT = Path(__file__).with_name("triton_client.py")
_START_SECONDS, _PLAY_SECONDS = 600.0, 300.0


@dataclass(frozen=True)
class TritonServer:
    """A server that runs.

    Attributes:
        pid: of its process. ports: of gRPC and HTTP, on loopback. folder: for files of its own.
    """

    pid: int
    ports: dict[str, int]
    folder: Path

    def kill_model(self, name: str) -> None:
        """Kill the processes of a model's instances, as a lack of memory would."""
        found = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and self._runs_model(entry, name)
        ]
        assert found
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    def _runs_model(self, process: Path, name: str) -> bool:
        """Whether a process is a child of the server that runs a model."""
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            return parent == self.pid and f"/{name}/" in (process / "cmdline").read_text()
        except OSError:  # it has ended
            return False

    def play(
        self,
        videos: dict[str, np.ndarray],
        *tracks: Sequence[dict[str, Any]],
        transport: str = "grpc",
    ) -> list[list[dict[str, np.ndarray] | str]]:
        """What each request of each track was answered: its outputs, or an error's text.

        Args:
            videos: (T, C, H, W) of each name.
            tracks: that are played at a time, as `triton_client.py` describes them.
            transport: "grpc" or "http".
        """
        address = f"127.0.0.1:{self.ports[transport]}"
        plan = [{"transport": transport, "address": address, "requests": t} for t in tracks]
        paths = [self.folder / name for name in ("plan.json", "videos.npz", "results.npz")]
        paths[0].write_text(json.dumps(plan))
        np.savez(paths[1], **videos)  # pyright: ignore[reportArgumentType]
        outcome = subprocess.run(
            [find_environment("deployment") / "bin" / "python", _CLIENT, *paths],
            capture_output=True,
            text=True,
            timeout=_PLAY_SECONDS,
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        )
        assert outcome.returncode == 0, outcome.stderr
        answers: list[list[Any]] = json.loads(outcome.stdout)
        with np.load(paths[2]) as arrays:
            for key in arrays.files:
                track, row, name = key.split("/")
                place = answers[int(track)]
                place[int(row)] = {**(place[int(row)] or {}), name: arrays[key]}
        return answers


@contextmanager
def serve_repository(repository: Path, folder: Path) -> Iterator[TritonServer]:
    """Start Triton on a model repository, and end it.

    Args:
        repository: of models. folder: an empty one, for the server's own files.
    """
    distribution = _find_distribution()
    backends = folder / "backends"
    shutil.copytree(distribution / "backends", backends)
    version = "{}.{}".format(*sys.version_info)
    stub = distribution / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    libraries = [
        distribution.parents[1] / "nvidia_pytriton.libs",
        sysconfig.get_config_var("LIBDIR"),
    ]
    ports = {name: _find_port() for name in ("grpc", "http")}
    options = [f"--{name}-port={port}" for name, port in ports.items()]
    options += [f"--{name}-address=127.0.0.1" for name in ports]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                distribution / "bin" / "tritonserver",
                f"--model-repository={repository}",
                f"--backend-directory={backends}",
                "--allow-metrics=false",
                "--disable-auto-complete-config",
                "--exit-timeout-secs=5",
                *options,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                # The first Python in PATH is the one whose packages the models find.
                "PATH": f"{find_environment('deployment') / 'bin'}:{os.environ['PATH']}",
                "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
                "OMP_NUM_THREADS": "1",
            },
        )
    try:
        _wait(process, ports["http"], log)
        yield TritonServer(process.pid, ports, folder)
    finally:
        process.terminate()
        process.wait(60)


def _find_distribution() -> Path:
    """The folder of the server's program; where there can be none, the test is skipped."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the wheel of a Triton server is for Linux on x86-64 alone")
    (found,) = find_environment("deployment").glob(
        "lib/python3.*/site-packages/pytriton/tritonserver"
    )
    return found


def _find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait until all models are loaded; a server that ends, or takes too long, fails the test."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    process.kill()
    pytest.fail(f"the Triton server does not start:\n{log.read_text()[-4000:]}")
