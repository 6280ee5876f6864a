"""Choosing a backend: from a program to an open stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from co3d.backends.executor import Executor
from co3d.backends.packages import is_installed
from co3d.backends.runner import Runner
from co3d.backends.stream import Stream
from co3d.errors import OptionError
from co3d.stream.program import Program

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True)
class Backend:
    """What a backend can do, known without importing it.

    Attributes:
        precisions: that it runs.
        devices: kinds of torch device; None for all.
        package: the optional package that it needs, and so the name of the extra, if any.
        open: makes its executor.
    """

    precisions: tuple[str, ...]
    devices: tuple[str, ...] | None
    package: str | None
    open: Callable[[torch.dtype, torch.device], Executor]


def _open_torch(dtype: torch.dtype, device: torch.device) -> Executor:
    from co3d.backends.torch_eager import TorchExecutor

    return TorchExecutor(dtype, device)


def _open_onnxruntime(dtype: torch.dtype, device: torch.device) -> Executor:
    from co3d.backends.onnx_runtime import OnnxRuntimeExecutor

    del dtype, device
    return OnnxRuntimeExecutor(torch.get_num_threads())


def _open_openvino(dtype: torch.dtype, device: torch.device) -> Executor:
    from co3d.backends.openvino_cpu import OpenVinoExecutor

    del device
    return OpenVinoExecutor(dtype, torch.get_num_threads())


# In the order in which "auto" prefers them; docs/results/bench.md has the measurements.
BACKENDS: Mapping[str, Backend] = {
    "openvino": Backend(("float32", "bfloat16"), ("cpu",), "openvino", _open_openvino),
    "onnxruntime": Backend(("float32",), ("cpu",), "onnxruntime", _open_onnxruntime),
    "torch": Backend(("float32", "float64", "bfloat16"), None, None, _open_torch),
}


def open_stream(
    program: Program[Any],
    *,
    backend: str = "auto",
    precision: str = "float32",
    device: str = "cpu",
    slots: int = 1,
) -> Stream:
    """Compile a step program for a number of slots and open the stream.

    CPU backends use as many threads as torch does (`torch.set_num_threads`).

    Args:
        program: from `convert`.
        backend: "torch" (the reference, eager), "onnxruntime", "openvino", or "auto": the first of
            `BACKENDS` that is installed and has the precision and the device. `Stream.backend` says
            what was chosen, and why.
        precision: "float32", "float64" or "bfloat16", of weights, frames and state; results are
            float32 where it is not float64.
        device: a torch device.
        slots: videos that step together, at least 1.

    Raises:
        OptionError: an option outside its range, or a device that is not there.
        MissingPackageError: the backend's package is not installed.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"cannot open a stream: got precision {precision!r}, expected one of "
            f"{', '.join(PRECISIONS)}"
        )
    if slots < 1:
        raise OptionError(f"cannot open a stream: got slots={slots}, expected at least 1")
    place = _find_device(device)
    if backend == "auto":
        name, reason = choose_backend(precision, place)
    else:
        name, reason = backend, "as asked"
        _require(backend, precision, place)
    runner = Runner(program, slots, BACKENDS[name].open(PRECISIONS[precision], place))
    return Stream(runner, f"{runner.executor.description} ({reason})")


def choose_backend(precision: str, device: torch.device) -> tuple[str, str]:
    """The backend that "auto" means, and why."""
    able = [name for name in BACKENDS if _complain(name, precision, device) is None]
    missing = [n for n in able if (package := BACKENDS[n].package) and not is_installed(package)]
    chosen = next(name for name in able if name not in missing)
    faster = missing[: 1 if missing and able.index(missing[0]) < able.index(chosen) else 0]
    reason = "auto: the fastest that is installed"
    if faster:
        reason += f"; pip install 'co3d[{faster[0]}]' brings a faster one"
    elif len(able) == 1:
        reason = f"auto: the only one for {precision} on {device}"
    return chosen, reason


def _require(name: str, precision: str, device: torch.device) -> None:
    if name not in BACKENDS:
        raise OptionError(
            f"cannot open a stream: got backend {name!r}, expected 'auto' or one of "
            f"{', '.join(sorted(BACKENDS))}"
        )
    complaint = _complain(name, precision, device)
    if complaint is not None:
        raise OptionError(f"cannot open a stream: {complaint}")


def _complain(name: str, precision: str, device: torch.device) -> str | None:
    """Why a backend cannot run this; None where it can."""
    backend = BACKENDS[name]
    if precision not in backend.precisions:
        return (
            f"backend {name!r} has no precision {precision!r}, expected one of "
            f"{', '.join(backend.precisions)}; or use backend='auto'"
        )
    if backend.devices is not None and device.type not in backend.devices:
        return f"backend {name!r} runs on {', '.join(backend.devices)}, got device {device}"
    return None


def _find_device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"cannot open a stream on device {name!r}: {str(error).splitlines()[0]}; use 'cpu' "
            "or a device that torch sees"
        ) from error
