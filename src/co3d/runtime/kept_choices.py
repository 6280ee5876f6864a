"""What "auto" measured, kept from one start to the next: an entry per program and machine.

An entry is a small JSON file, whose name is its key and which holds a digest of key and content.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import fx

from co3d.backends.contract import list_graphs
from co3d.compiler.program import Program
from co3d.environment import cache_path
from co3d.errors import OutputError
from co3d.files import forget_least_used, output_file
from co3d.packages import find_version

KEPT_FILES = 256
_PACKAGES = ("co3d", "torch", "onnxruntime", "openvino", "onnx", "onnxscript")
# Lines of /proc/cpuinfo that tell processors apart.
_MACHINE_LINES = ("model name", "flags", "cache size", "Features", "CPU part")
_LOG = logging.getLogger("co3d")


def find_choice_key(program: Program[Any], precision: str, candidates: Sequence[object]) -> str:
    """A digest of everything that a measurement depends on.

    It takes the program's operators and shapes, and not its weights, which change no step's time.

    Args:
        candidates: what is measured: names of backends, numbers of threads.
    """
    digest = hashlib.sha256()
    shapes = (program.frame_shapes, program.output_shapes, program.states, program.edges)
    digest.update(repr((shapes, precision, tuple(candidates))).encode())
    for key, graph in list_graphs(program).items():
        assert isinstance(graph, fx.GraphModule)
        kinds = [(name, tuple(t.shape), t.dtype) for name, t in graph.named_buffers()]
        digest.update(repr((key, graph.code, kinds)).encode())
    digest.update(repr((_describe_machine(), _list_versions())).encode())
    return digest.hexdigest()


def read_choice(key: str) -> tuple[str, int, str] | None:
    """The backend, the threads and the reason that were kept; None without any, or damaged ones."""
    path = _folder() / f"{key}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        kept = str(data["backend"]), int(data["threads"]), str(data["reason"])
        if data["digest"] != _digest(key, kept):
            raise ValueError("its content is not what was written")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("what auto measured, %s, is damaged (%s): measuring again", path, error)
        return None
    with contextlib.suppress(OSError):  # one may read a cache without writing to it
        os.utime(path)  # used just now
    return kept


def keep_choice(key: str, backend: str, threads: int, reason: str) -> None:
    """Keep what was chosen; a cache that cannot be written costs time at the next start alone."""
    kept = backend, threads, reason
    content = dict(zip(("backend", "threads", "reason"), kept, strict=True))
    with contextlib.suppress(OSError, OutputError):
        _folder().mkdir(parents=True, exist_ok=True)
        with output_file(_folder() / f"{key}.json") as temporary:
            temporary.write_text(
                json.dumps(content | {"digest": _digest(key, kept)}), encoding="utf-8"
            )
        forget_least_used(_folder().glob("[!.]*.json"), KEPT_FILES)


def _folder() -> Path:
    return cache_path() / "choices"


def _digest(key: str, kept: tuple[str, int, str]) -> str:
    return hashlib.sha256(repr((key, kept)).encode()).hexdigest()


@cache
def _describe_machine() -> tuple[object, ...]:
    """The processor, and how many of its cores there are."""
    lines: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in _MACHINE_LINES:
                lines.setdefault(name.strip(), value.strip())
    return platform.machine(), platform.processor(), os.cpu_count(), sorted(lines.items())


@cache
def _list_versions() -> tuple[str | None, ...]:
    return (*map(find_version, _PACKAGES), torch.__version__)
