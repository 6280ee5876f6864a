"""Choosing a backend: from a program to an open stream."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from co3d.backends.contract import Executor
from co3d.backends.graphs.stored_graph import Format, StoredGraph
from co3d.backends.native.coverage import has_kernels
from co3d.backends.native.library import find_compiler, find_obstacle
from co3d.backends.triton_gpu.obstacle import find_obstacle as find_gpu_obstacle
from co3d.compiler.program import Program
from co3d.errors import Co3dError, ExportedFileError, MissingPackageError, OptionError
from co3d.packages import is_installed, require_package
from co3d.runtime.runner import Runner
from co3d.runtime.stored_program import StoredProgram
from co3d.runtime.stream import Stream

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # inside the graph only: frames, state and results are float32
}


@dataclass(frozen=True)
class Backend:
    """What a backend can do, known without importing it.

    Attributes:
        precisions: that it runs.
        devices: kinds of torch device; None for all.
        package: the optional package that it needs, and so the name of the extra, if any.
        formats: of stored graphs that it reads.
        open: makes its executor.
    """

    precisions: tuple[str, ...]
    devices: tuple[str, ...] | None
    package: str | None
    formats: tuple[Format, ...]
    open: Callable[[str, torch.device], Executor]

    def runs_on(self, device_type: str) -> bool:
        """Whether it runs on a kind of device, such as "cuda"."""
        return self.devices is None or device_type in self.devices


def _open_torch(precision: str, device: torch.device) -> Executor:
    from co3d.backends.torch_eager import TorchExecutor

    return TorchExecutor(PRECISIONS[precision], device)


def _open_inductor(precision: str, device: torch.device) -> Executor:
    from co3d.backends.inductor import InductorExecutor

    del device
    return InductorExecutor(precision, PRECISIONS[precision])


def _open_onnxruntime(precision: str, device: torch.device) -> Executor:
    from co3d.backends.onnx_runtime import OnnxRuntimeExecutor

    del device
    return OnnxRuntimeExecutor(precision, torch.get_num_threads())


def _open_native(precision: str, device: torch.device) -> Executor:
    from co3d.backends.native.executor import NativeExecutor

    del device
    return NativeExecutor(precision, PRECISIONS[precision], torch.get_num_threads())


def _open_triton(precision: str, device: torch.device) -> Executor:
    require_package("triton", extra="triton")
    obstacle = find_gpu_obstacle()
    if obstacle is not None:
        raise MissingPackageError(obstacle)
    from co3d.backends.triton_gpu.executor import TritonExecutor

    return TritonExecutor(PRECISIONS[precision], device)


def _open_openvino(precision: str, device: torch.device) -> Executor:
    from co3d.backends.openvino_cpu import OpenVinoExecutor

    del device
    return OpenVinoExecutor(precision, PRECISIONS[precision], torch.get_num_threads())


# In the order in which "auto" prefers them; docs/results/bench.md has the measurements.
BACKENDS: Mapping[str, Backend] = {
    "openvino": Backend(
        ("float32", "bfloat16", "int8"), ("cpu",), "openvino", ("onnx", "openvino"), _open_openvino
    ),
    "onnxruntime": Backend(
        ("float32", "int8"), ("cpu",), "onnxruntime", ("onnx",), _open_onnxruntime
    ),
    "native": Backend(("float32", "bfloat16"), ("cpu",), None, (), _open_native),
    "triton": Backend(("float32", "bfloat16", "float16"), ("cuda",), "triton", (), _open_triton),
    "torch": Backend(("float32", "float64", "bfloat16"), None, None, (), _open_torch),
    # Last: it takes minutes to compile, and is no faster than eager graphs.
    "inductor": Backend(("float32", "bfloat16"), ("cpu",), None, (), _open_inductor),
}


def open_stream(
    program: Program[Any],
    *,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
    slots: int | None = None,
) -> Stream:
    """Compile a step program for a number of slots and open the stream.

    CPU backends use as many threads as torch does (`torch.set_num_threads`).

    Args:
        program: from `convert`, or from a file by `load_program`.
        backend: "torch" (the reference, eager), "native" (co3d's own kernels, which the machine's
            C++ compiler builds once), "triton" (co3d's own kernels for an NVIDIA GPU), "inductor"
            (torch.compile), "onnxruntime", "openvino", or "auto": the fastest for this network that
            is installed and has the precision and the device. `Stream.backend` says what was
            chosen, and why.
        precision: "float32" (the default), "float64", "bfloat16" or "float16", of weights, frames
            and state; results are float32 where it is not float64. A file of a runtime's format
            has its own.
        device: a torch device.
        slots: videos that step together, at least 1, the default. A file of a runtime's format has
            its own number.

    Raises:
        OptionError: an option outside its range, or other than a file's own; or a device that is
            not there.
        MissingPackageError: the backend's package is not installed.
        ExportedFileError: a file's graphs are not what the file says, or the backend cannot run
            them.
    """
    kind = find_format(program)
    if isinstance(program, StoredProgram):
        _require_own("precision", precision, program.precision)
        _require_own("slots", slots, program.slots)
        precision, slots = precision or program.precision, slots or program.slots
    precision, slots = precision or "float32", 1 if slots is None else slots
    if precision not in PRECISIONS:
        raise OptionError(
            f"cannot open a stream: got precision {precision!r}, expected one of "
            f"{', '.join(PRECISIONS)}"
        )
    if slots < 1:
        raise OptionError(f"cannot open a stream: got slots={slots}, expected at least 1")
    place = find_device(device)
    if backend == "auto":
        name, reason = choose_backend(program, precision, place)
    else:
        name, reason = backend, "as asked"
        _require(backend, precision, place, kind)
    executor = BACKENDS[name].open(precision, place)
    try:
        stream = Stream(Runner(program, slots, executor), f"{executor.description} ({reason})")
        if isinstance(program, StoredProgram):
            _try_out(stream)
    except Exception as error:
        # What a stranger's file says of itself may be wrong in any way.
        if not isinstance(program, StoredProgram) or isinstance(error, Co3dError):
            raise
        last = str(error).strip().splitlines()[-1:] or [""]
        raise ExportedFileError(
            f"cannot run {program.name} from its file with {executor.description}: "
            f"{type(error).__name__}: {last[0]}; export the network again, or try another backend"
        ) from error
    return stream


def _try_out(stream: Stream) -> None:
    """Step blank frames, once per phase, and forget them.

    Raises:
        ValueError: results are not what the program says.
    """
    program = stream.program
    blank = [torch.zeros(stream.slots, *shape) for shape in program.frame_shapes]
    for _ in program.phases:
        result = stream.step(blank)
        shapes = [tuple(made.shape) for made in tree_leaves(result.output)]
        expected = [(stream.slots, *shape) for shape in program.output_shapes]
        if shapes != expected:
            raise ValueError(f"got results of shapes {shapes}, expected {expected}")
    stream.reset()


def find_format(program: Program[Any]) -> Format | None:
    """The runtime's format that a program's graphs are in; None for graphs of torch."""
    graph = program.phases[0].steady
    return graph.format if isinstance(graph, StoredGraph) else None


def choose_backend(program: Program[Any], precision: str, device: torch.device) -> tuple[str, str]:
    """The backend that "auto" means for a program, and why.

    Raises:
        OptionError: no backend can run this.
        MissingPackageError: those that can are not installed.
    """
    names, kind = _list_by_speed(program), find_format(program)
    able = [name for name in names if _complain(name, precision, device, kind) is None]
    if not able:
        plain = [
            one for one in PRECISIONS if any(not _complain(n, one, device, kind) for n in names)
        ]
        if kind is None and precision != "int8" and plain:
            raise OptionError(
                f"cannot open a stream: got precision {precision!r}, which no backend has on "
                f"{device}; expected one of {', '.join(plain)} there, or another device"
            )
        # Each of them once: several backends may lack the same.
        complaints = dict.fromkeys(_complain(name, precision, device, kind) for name in names)
        raise OptionError(f"cannot open a stream: {'; '.join(map(str, complaints))}")
    chosen = next((name for name in able if is_ready(name)), able[0])
    if not is_ready(chosen):
        require_package(chosen, extra=chosen)
    reason = "auto: the fastest that is installed"
    if chosen != able[0]:
        reason += f"; {_explain_lack(able[0])}"
    elif len(able) == 1:
        reason = f"auto: the only one for {precision} on {device}"
    return chosen, reason


def is_ready(name: str) -> bool:
    """Whether what a backend needs is here; of the native one, whether its kernels load."""
    if name == "native":
        return find_obstacle() is None
    package = BACKENDS[name].package
    if package is not None and not is_installed(package):
        return False
    return name != "triton" or find_gpu_obstacle() is None


def _explain_lack(name: str) -> str:
    """What would make a backend ready that is faster than the chosen one."""
    if name == "triton" and is_installed(name):
        return f"a faster one is not to be had: {find_gpu_obstacle()}"
    if name != "native":
        return f"pip install 'co3d[{name}]' brings a faster one"
    if find_compiler() is None:
        return "a C++ compiler brings a faster one"
    return str(find_obstacle()).split(";")[0]


def _list_by_speed(program: Program[Any]) -> list[str]:
    """Backends, those first that "auto" prefers for this program.

    The native kernels are the fastest, on the machines that were measured, where they run all
    convolutions; they leave grouped ones to PyTorch.
    """
    graphs = [phase.steady for phase in program.phases]
    graphs = [graph for graph in graphs if not isinstance(graph, StoredGraph)]
    if has_kernels(graphs):
        return sorted(BACKENDS, key=lambda name: name != "native")
    return list(BACKENDS)


def _require_own(name: str, given: object, own: object) -> None:
    """OptionError for an option other than the one that a file was written with."""
    if given is not None and own is not None and given != own:
        raise OptionError(
            f"cannot open a stream: got {name}={given}, but the file was exported with {name}="
            f"{own}; leave it out, or export the network again"
        )


def _require(name: str, precision: str, device: torch.device, kind: Format | None) -> None:
    if name not in BACKENDS:
        raise OptionError(
            f"cannot open a stream: got backend {name!r}, expected 'auto' or one of "
            f"{', '.join(sorted(BACKENDS))}"
        )
    complaint = _complain(name, precision, device, kind)
    if complaint is not None:
        raise OptionError(f"cannot open a stream: {complaint}")


def _complain(
    name: str, precision: str, device: torch.device, kind: Format | None = None
) -> str | None:
    """Why a backend cannot run this; None where it can."""
    backend = BACKENDS[name]
    if kind is not None and kind not in backend.formats:
        return f"backend {name!r} does not read {kind} files; use backend='auto'"
    if precision == "int8" and kind is None:
        return (
            "int8 needs ranges measured on your videos; write a file with `co3d export --precision "
            "int8 --calibrate VIDEO`, and open that"
        )
    if precision not in backend.precisions:
        return (
            f"backend {name!r} has no precision {precision!r}, expected one of "
            f"{', '.join(backend.precisions)}; or use backend='auto'"
        )
    if not backend.runs_on(device.type):
        return f"backend {name!r} runs on {', '.join(backend.devices or ())}, got device {device}"
    return None


def find_device(name: str) -> torch.device:
    """The torch device of a name, with its number where it is one of several.

    Raises:
        OptionError: it is not there.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"cannot open a stream on device {name!r}: {str(error).splitlines()[0]}; use 'cpu' "
            "or a device that torch sees"
        ) from error


# What any converted program runs in; other precisions need more than the program to be ready.
PLAIN_PRECISIONS = ("float32", "float64", "bfloat16", "float16")
SLOW_TO_OPEN = ("inductor",)  # minutes of compilation: only when asked for


def select_engines(
    backends: Sequence[str], precisions: Sequence[str], device_type: str = "cpu"
) -> tuple[tuple[str, str], ...]:
    """All pairs of these backends and precisions that exist on a kind of device, such as "cuda".

    Raises:
        OptionError: an unknown name, or no pair at all.
    """
    check_names("backend", backends, BACKENDS)
    check_names("precision", precisions, PRECISIONS)
    able = [name for name in backends if BACKENDS[name].runs_on(device_type)]
    pairs = tuple((b, p) for b in able for p in precisions if p in BACKENDS[b].precisions)
    if not pairs:
        raise OptionError(
            f"cannot measure: none of {', '.join(backends)} has the precision "
            f"{' or '.join(precisions)} on {device_type}; try --backend torch"
        )
    return pairs


def list_quick_backends(device_type: str = "cpu") -> list[str]:
    """Backends for a kind of device that are installed and open in seconds, as `BACKENDS` has them.

    Args:
        device_type: such as "cuda".
    """
    able = [name for name, backend in BACKENDS.items() if backend.runs_on(device_type)]
    return [name for name in able if name not in SLOW_TO_OPEN and is_ready(name)]


def check_names(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """Refuse the first name that is not known.

    Raises:
        OptionError: naming those that are.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OptionError(
            f"cannot measure: got {kind} {unknown[0]!r}, expected one of {', '.join(known)}"
        )
