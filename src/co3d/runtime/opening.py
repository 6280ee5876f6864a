"""Compiles programs and opens streams."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from co3d.arguments import check_arguments
from co3d.backends.graphs.stored_graph import Format
from co3d.backends.native.library import must_be_built, start_building
from co3d.backends.table import BACKENDS, PRECISIONS
from co3d.compiler.program import Program
from co3d.errors import Co3dError, ExportedFileError, OptionError
from co3d.runtime.choice import (
    Choice,
    choose_backend,
    find_complaint,
    find_device,
    find_format,
    would_take_native,
)
from co3d.runtime.compiled import CompiledProgram
from co3d.runtime.stored_program import StoredProgram
from co3d.runtime.stream import Stream
from co3d.runtime.successor import ReadyExecutable, Successor
from co3d.runtime.threads import choose_threads


@check_arguments(program="convert the network first: co3d.convert(model, clip_shape)")
def compile(  # noqa: A001 (the name that PyTorch and OpenVINO use too)
    program: Program[Any],
    *,
    backend: str = "auto",
    precision: str | None = None,
    device: str | torch.device = "cpu",
    meanwhile: bool = False,
) -> CompiledProgram:
    """Compile a step program once: pack its weights, plan its steps, make its kernels.

    `CompiledProgram.open` then opens streams, each of which costs only its state. CPU backends use
    as many threads as torch does now (`torch.set_num_threads`), and one for a small network
    (`SMALL_NETWORK_MACS`).

    Args:
        program: from `convert`, or from a file by `load_program`.
        backend: "torch" (the reference, eager), "native" (co3d's own kernels, which the machine's
            C++ compiler builds once), "triton" (co3d's own kernels for an NVIDIA GPU), "inductor"
            (torch.compile), "onnxruntime", "openvino", or "auto": the fastest for this network that
            is installed and supports the precision and the device. If co3d's own kernels do not run
            all operators of the network, "auto" measures a few steps of each backend the first
            time, with one thread and with all. `CompiledProgram.backend` names the choice and why.
        precision: of weights, frames and state: "float32" (the default), "float64", "bfloat16" or
            "float16". Results are float64 for "float64", else float32. A file in a runtime's format
            has a fixed precision.
        device: a torch device.
        meanwhile: if "auto" means the native backend and its kernels must be compiled first, step
            with PyTorch until they are, and switch to them between two steps. Results then change
            by rounding.

    Raises:
        OptionError: an option is out of range, or differs from the one fixed by a file; or the
            device is missing.
        MissingPackageError: the backend's package is not installed.
        ExportedFileError: a file's graphs do not match its description, or the backend cannot run
            them.
    """
    kind = find_format(program)
    if isinstance(program, StoredProgram):
        _check_fixed("precision", precision, program.precision)
        precision = precision or program.precision
    precision = precision or "float32"
    if precision not in PRECISIONS:
        raise OptionError(
            f"cannot open a stream: got precision {precision!r}, expected one of "
            f"{', '.join(PRECISIONS)}"
        )
    place = find_device(device)
    successor = None
    if meanwhile and backend == "auto" and would_take_native(program, precision, place):
        successor = _build_meanwhile(program, precision, place)
    if successor is not None:
        choice = Choice("torch", choose_threads(program), "auto: until our kernels are compiled")
    elif backend == "auto":
        choice = choose_backend(program, precision, place)
    else:
        _require(backend, precision, place, kind)
        choice = Choice(backend, choose_threads(program), "as asked")
    executor = BACKENDS[choice.backend].open(precision, place, choice.threads)
    description = f"{executor.description} ({choice.reason})"
    with _as_file_error(program, executor.description):
        executable = executor.load(program)
        compiled = CompiledProgram(
            program, executor, executable, description, choice.threads, successor
        )
        if isinstance(program, StoredProgram):
            _check_steps(compiled)
    return compiled


def _build_meanwhile(
    program: Program[Any], precision: str, device: torch.device
) -> Successor | None:
    """Compile the native kernels in the background; None if they are compiled already."""
    if not must_be_built():
        return None
    building, threads = start_building(), choose_threads(program)

    def make() -> ReadyExecutable:
        building.wait()
        executor = BACKENDS["native"].open(precision, device, threads)
        why = "auto: the fastest that is installed, compiled meanwhile"
        return ReadyExecutable(executor.load(program), f"{executor.description} ({why})")

    return Successor(make)


@check_arguments(program="convert the network first: co3d.convert(model, clip_shape)")
def open_stream(
    program: Program[Any],
    *,
    backend: str = "auto",
    precision: str | None = None,
    device: str | torch.device = "cpu",
    slots: int | None = None,
    meanwhile: bool = False,
) -> Stream:
    """Compile a step program and open a stream, whose slots step together.

    Args:
        program, backend, precision, device, meanwhile: as for `compile`.
        slots: videos that step together, at least 1, the default. A file in a runtime's format has
            a fixed number.

    Raises:
        OptionError, MissingPackageError, ExportedFileError: as `compile`.
    """
    if isinstance(program, StoredProgram):
        _check_fixed("slots", slots, program.slots)
        slots = slots or program.slots
    slots = 1 if slots is None else slots
    if slots < 1:
        raise OptionError(f"cannot open a stream: got slots={slots}, expected at least 1")
    compiled = compile(
        program, backend=backend, precision=precision, device=device, meanwhile=meanwhile
    )
    return Stream(compiled, slots)


@contextmanager
def _as_file_error(program: Program[Any], description: str) -> Iterator[None]:
    """Convert any error to an ExportedFileError if the program comes from a file.

    The description in an untrusted file may be wrong in any way.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(program, StoredProgram) or isinstance(error, Co3dError):
            raise
        last = str(error).strip().splitlines()[-1:] or [""]
        raise ExportedFileError(
            f"cannot run {program.name} from its file with {description}: "
            f"{type(error).__name__}: {last[0]}; export the network again, or try another backend"
        ) from error


def _check_steps(compiled: CompiledProgram) -> None:
    """Step blank frames in a slot, once per phase, to check the shapes of results.

    Raises:
        ValueError: a shape differs from the program's.
    """
    program = compiled.program
    blank = [torch.zeros(1, *shape) for shape in program.frame_shapes]
    with compiled.open() as slot:
        for _ in program.phases:
            made = program.unpack_outputs(compiled.step([slot], blank).output)
            shapes = [tuple(output.shape) for output in made]
            expected = [(1, *shape) for shape in program.output_shapes]
            if shapes != expected:
                raise ValueError(f"got results of shapes {shapes}, expected {expected}")


def _check_fixed(name: str, given: object, own: object) -> None:
    """Raise OptionError if an option differs from the one that a file was written with."""
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
    complaint = find_complaint(name, precision, device, kind)
    if complaint is not None:
        raise OptionError(f"cannot open a stream: {complaint}")
