"""The table of backends: a record of what each can do, which can be read without importing it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from co3d.backends.contract import Executor
from co3d.backends.graphs.stored_graph import Format
from co3d.backends.native.coverage import find_coverage
from co3d.backends.native.library import find_compiler, why_unavailable
from co3d.backends.triton_gpu.availability import why_unavailable as why_triton_unavailable
from co3d.errors import MissingPackageError
from co3d.packages import extra_command, is_installed, require_package

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # frames, state and results stay float32
}


def _always_runs() -> str | None:
    return None


@dataclass(frozen=True)
class Backend:
    """What a backend can do.

    Attributes:
        precisions: the precisions that it supports.
        devices: the types of torch device that it supports; None for all.
        open: makes its executor for a precision, a device and a number of threads (used on a CPU);
            imports what it needs.
        package: the optional package that it needs, which is also the name of the extra.
        formats: the formats of stored graphs that it reads.
        check_machine: why it cannot run here although its package is installed, in words that may
            follow "auto: …"; None where it can. It may take seconds.
        find_coverage: for a backend with its own kernels, the share of step graphs' operators that
            the kernels run, 0 to 1; "auto" prefers the backend where it is 1. None for other
            backends.
        runs_clips: whether it also runs graphs of whole clips (N, C, T, H, W).
        is_slow_to_open: whether it compiles for minutes; such a backend runs only on request.
    """

    precisions: tuple[str, ...]
    devices: tuple[str, ...] | None
    open: Callable[[str, torch.device, int], Executor]
    package: str | None = None
    formats: tuple[Format, ...] = ()
    check_machine: Callable[[], str | None] = _always_runs
    find_coverage: Callable[[Sequence[fx.GraphModule]], float] | None = None
    runs_clips: bool = True
    is_slow_to_open: bool = False

    def runs_on(self, device_type: str) -> bool:
        """Whether it supports a device type, such as "cuda"."""
        return self.devices is None or device_type in self.devices

    def find_reason(self) -> str | None:
        """Why it is unavailable, in words that may follow "auto: …"; None if it is available."""
        if self.package is not None and not is_installed(self.package):
            return f"{extra_command(self.package)} brings a faster one"
        return self.check_machine()


def _open_torch(precision: str, device: torch.device, threads: int) -> Executor:
    from co3d.backends.torch_eager import TorchExecutor

    return TorchExecutor(PRECISIONS[precision], device, threads)


def _open_inductor(precision: str, device: torch.device, threads: int) -> Executor:
    from co3d.backends.inductor import InductorExecutor

    del device
    return InductorExecutor(precision, PRECISIONS[precision], threads)


def _open_onnxruntime(precision: str, device: torch.device, threads: int) -> Executor:
    from co3d.backends.onnx_runtime import OnnxRuntimeExecutor

    del device
    return OnnxRuntimeExecutor(precision, threads)


def _open_openvino(precision: str, device: torch.device, threads: int) -> Executor:
    from co3d.backends.openvino_cpu import OpenVinoExecutor

    del device
    return OpenVinoExecutor(precision, PRECISIONS[precision], threads)


def _open_native(precision: str, device: torch.device, threads: int) -> Executor:
    from co3d.backends.native.executor import NativeExecutor

    del device
    return NativeExecutor(precision, PRECISIONS[precision], threads)


def _check_kernels() -> str | None:
    reason = why_unavailable()
    if reason is None:
        return None
    has_compiler = find_compiler() is not None
    return reason.split(";")[0] if has_compiler else "a C++ compiler brings a faster one"


def _open_triton(precision: str, device: torch.device, threads: int) -> Executor:
    del threads
    require_package("triton", extra="triton")
    reason = why_triton_unavailable()
    if reason is not None:
        raise MissingPackageError(reason)
    from co3d.backends.triton_gpu.executor import TritonExecutor

    return TritonExecutor(PRECISIONS[precision], device)


def _check_triton() -> str | None:
    reason = why_triton_unavailable()
    return None if reason is None else f"a faster one is not to be had: {reason}"


# In the order in which "auto" prefers them where it does not measure; docs/results/bench.md has the
# measurements.
BACKENDS: Mapping[str, Backend] = {
    "openvino": Backend(
        precisions=("float32", "bfloat16", "int8"),
        devices=("cpu",),
        open=_open_openvino,
        package="openvino",
        formats=("onnx", "openvino"),
    ),
    "onnxruntime": Backend(
        precisions=("float32", "int8"),
        devices=("cpu",),
        open=_open_onnxruntime,
        package="onnxruntime",
        formats=("onnx",),
    ),
    # The fastest on the machines that were measured, if its kernels run all convolutions. PyTorch
    # runs grouped convolutions.
    "native": Backend(
        precisions=("float32", "bfloat16"),
        devices=("cpu",),
        open=_open_native,
        check_machine=_check_kernels,
        find_coverage=find_coverage,
        runs_clips=False,
    ),
    "triton": Backend(
        precisions=("float32", "bfloat16", "float16"),
        devices=("cuda",),
        open=_open_triton,
        package="triton",
        check_machine=_check_triton,
        runs_clips=False,
    ),
    "torch": Backend(precisions=("float32", "float64", "bfloat16"), devices=None, open=_open_torch),
    # Last: it is no faster than eager graphs.
    "inductor": Backend(
        precisions=("float32", "bfloat16"),
        devices=("cpu",),
        open=_open_inductor,
        is_slow_to_open=True,
    ),
}
