"""The triton backend where tests run: on a GPU, or else in Triton's interpreter on the CPU."""

import pytest
import torch

import co3d
from co3d.backends.contract import Executor
from co3d.backends.table import PRECISIONS
from co3d.compiler import StepProgram
from co3d.runtime import Stream
from co3d.runtime.choice import find_device
from co3d.runtime.compiled import CompiledProgram

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter has no products of bfloat16, of which NumPy knows nothing.
TESTED = ("float32", "float16") if DEVICE == "cpu" else ("float32", "float16", "bfloat16")


def is_interpreted(backend: str) -> bool:
    """Whether a backend takes a second for what others do in a millisecond."""
    return backend == "triton" and DEVICE == "cpu"


def open_executor(precision: str) -> Executor:
    """The executor; skips the test where Triton is not installed."""
    pytest.importorskip("triton", reason="triton is not installed: make test-slow brings it")
    from co3d.backends.triton_gpu.executor import TritonExecutor

    return TritonExecutor(PRECISIONS[precision], find_device(DEVICE))


def compile_anywhere(
    program: StepProgram, *, backend: str, precision: str = "float32"
) -> CompiledProgram:
    """`co3d.compile`, for the triton backend too."""
    if backend != "triton" or DEVICE == "cuda":
        device = DEVICE if backend == "triton" else "cpu"
        return co3d.compile(program, backend=backend, precision=precision, device=device)
    executor = open_executor(precision)
    return CompiledProgram(program, executor, executor.load(program), "interpreted")


def open_anywhere(
    program: StepProgram, *, backend: str, precision: str = "float32", slots: int = 1
) -> Stream:
    """`open_stream`, for the triton backend too."""
    return Stream(compile_anywhere(program, backend=backend, precision=precision), slots)
