"""Caches the backend that "auto" measured, in a small JSON file per program and machine."""

import contextlib
import hashlib
import json
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
from co3d.kept_files import KeptFiles
from co3d.packages import find_version

_KEPT = KeptFiles("choices", ".json", most_files=256)
_PACKAGES = ("co3d", "torch", "onnxruntime", "openvino", "onnx", "onnxscript")
# The lines of /proc/cpuinfo that distinguish processors.
_MACHINE_LINES = ("model name", "flags", "cache size", "Features", "CPU part")


def find_choice_key(program: Program[Any], precision: str, candidates: Sequence[object]) -> str:
    """A digest of everything that a measurement depends on.

    It includes the program's operators and shapes, but not its weights, which do not change times.

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
    """The cached backend, threads and reason; None if there are none, or the file is damaged."""
    data = _KEPT.read(key)
    if data is None:
        return None
    kept = json.loads(data)
    return kept["backend"], kept["threads"], kept["reason"]


def keep_choice(key: str, backend: str, threads: int, reason: str) -> None:
    """Cache a choice; if the cache cannot be written, the next start measures again."""
    content = {"backend": backend, "threads": threads, "reason": reason}
    _KEPT.write(key, json.dumps(content).encode())


@cache
def _describe_machine() -> tuple[object, ...]:
    """The processor and the number of cores."""
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
