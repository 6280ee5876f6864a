"""The table of backends: one record each, all that is known of one without importing it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from co3d.backends.contract import Executor
from co3d.backends.graphs.stored_graph import Format
from co3d.backends.native.coverage import find_share
from co3d.backends.native.library import find_compiler, find_obstacle
from co3d.backends.triton_gpu.obstacle import find_obstacle as find_gpu_obstacle
from co3d.errors import MissingPackageError
from co3d.packages import extra_command, is_installed, require_package

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # inside the graph only: frames, state and results are float32
}


def _lack_nothing() -> str | None:
    return None


@dataclass(frozen=True)
class Backend:
    """What a backend can do.

    Attributes:
        precisions: that it runs.
        devices: kinds of torch device; None for all.
        open: makes its executor for a precision, a device and a number of threads, which counts
            on a CPU; imports what it needs.
        package: the optional package that it needs, and so the name of the extra, if any.
        formats: of stored graphs that it reads.
        find_lack: why it cannot run here although its package is installed, in words that may
            follow "auto: …"; None where it can. It may take seconds.
        find_share: of a backend with kernels of its own, the share of the operators of step graphs
            that they run, 0 to 1; "auto" takes it first where they run all. None for others.
        runs_clips: whether it runs graphs of whole clips (N, C, T, H, W), and not of frames alone.
        is_slow_to_open: it compiles for minutes, so it is used only when asked for.
    """

    precisions: tuple[str, ...]
    devices: tuple[str, ...] | None
    open: Callable[[str, torch.device, int], Executor]
    package: str | None = None
    formats: tuple[Format, ...] = ()
    find_lack: Callable[[], str | None] = _lack_nothing
    find_share: Callable[[Sequence[fx.GraphModule]], float] | None = None
    runs_clips: bool = True
    is_slow_to_open: bool = False

    def runs_on(self, device_type: str) -> bool:
        """Whether it runs on a kind of device, such as "cuda"."""
        return self.devices is None or device_type in self.devices

    def find_reason(self) -> str | None:
        """Why it is unavailable, in words that may follow "auto: …"; None where it is not."""
        if self.package is not None and not is_installed(self.package):
            return f"{extra_command(self.package)} brings a faster one"
        return self.find_lack()


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


def _lack_kernels() -> str | None:
    obstacle = find_obstacle()
    if obstacle is None:
        return None
    has_compiler = find_compiler() is not None
    return obstacle.split(";")[0] if has_compiler else "a C++ compiler brings a faster one"


def _open_triton(precision: str, device: torch.device, threads: int) -> Executor:
    del threads
    require_package("triton", extra="triton")
    obstacle = find_gpu_obstacle()
    if obstacle is not None:
        raise MissingPackageError(obstacle)
    from co3d.backends.triton_gpu.executor import TritonExecutor

    return TritonExecutor(PRECISIONS[precision], device)


def _lack_gpu() -> str | None:
    obstacle = find_gpu_obstacle()
    return None if obstacle is None else f"a faster one is not to be had: {obstacle}"


# In the order in which "auto" prefers them where it measures nothing; docs/results/bench.md has the
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
    # The fastest, on the machines that were measured, where its kernels run all convolutions; it
    # leaves grouped ones to PyTorch.
    "native": Backend(
        precisions=("float32", "bfloat16"),
        devices=("cpu",),
        open=_open_native,
        find_lack=_lack_kernels,
        find_share=find_share,
        runs_clips=False,
    ),
    "triton": Backend(
        precisions=("float32", "bfloat16", "float16"),
        devices=("cuda",),
        open=_open_triton,
        package="triton",
        find_lack=_lack_gpu,
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
