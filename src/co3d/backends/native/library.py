"""The kernels as a library: built by the machine's C++ compiler, for its processor, once."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.progress import SpinnerColumn

from co3d.backends.native.operation import Operation
from co3d.environment import cache_path
from co3d.errors import MissingPackageError, OutputError
from co3d.files import output_file
from co3d.progress import open_progress

_COMPILERS = ("c++", "g++", "clang++")
_OPTIONS = ("-O3", "-std=c++20", "-shared", "-fPIC", "-fopenmp")
_SOURCES = Path(__file__).parent / "kernels"


def find_compiler() -> list[str] | None:
    """Command of a C++ compiler: `CXX` from the environment, or the first of the usual names."""
    named = os.environ.get("CXX", "").strip()
    # A path that may hold spaces, or a command with options: `ccache g++`.
    commands = [[named], named.split()] if named else [[name] for name in _COMPILERS]
    for program, *options in commands:
        if path := shutil.which(program):
            return [path, *options]
    return None


@functools.cache
def load_library() -> Any:
    """The kernels, built where there is no library of this source, compiler and processor yet.

    It lies in the folder `native` of the platform's folder for caches, or of the one that
    `CO3D_CACHE` names; in a temporary one where that cannot be written.

    Raises:
        MissingPackageError: there is no C++ compiler, or it cannot compile the kernels.
    """
    compiler = find_compiler()
    if compiler is None:
        named = os.environ.get("CXX", "").strip()
        looked = f"{named!r}, which CXX names," if named else f"one of {', '.join(_COMPILERS)}"
        raise MissingPackageError(
            f"backend 'native' needs a C++ compiler: {looked} was not found; install g++ or "
            "clang++, or name one in the environment's CXX, or use another backend"
        )
    name = f"kernels-{_fingerprint(compiler)}.so"
    folder = cache_path() / "native"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _load_or_build(compiler, folder / name)
    except (OSError, OutputError):
        with tempfile.TemporaryDirectory() as temporary:
            return _build(compiler, Path(temporary) / name)


@functools.cache
def find_obstacle() -> str | None:
    """Why the kernels cannot be loaded; None where they can. The first call may build them."""
    try:
        load_library()
    except MissingPackageError as error:
        return str(error)
    return None


def _load_or_build(compiler: list[str], path: Path) -> Any:
    if path.exists():
        # One that cannot be loaded is damaged, and built anew.
        with contextlib.suppress(OSError):
            return _load(path)
    return _build(compiler, path)


def _build(compiler: list[str], path: Path) -> Any:
    with output_file(path) as temporary:
        command = [*_command(compiler), str(_SOURCES / "kernels.cpp"), "-o", str(temporary)]
        with open_progress(SpinnerColumn(), "{task.description}", transient=True) as progress:
            progress.add_task("building the kernels for this processor, once", total=None)
            _run(command)
    return _load(path)


def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_long
    library.co3d_run.argtypes = (pointer, number, pointer, ctypes.c_int, ctypes.c_int)
    library.co3d_bind.argtypes = (pointer, pointer, pointer, pointer)
    library.co3d_advance.argtypes = (pointer, pointer, pointer)
    library.co3d_step_slots.argtypes = (
        *(pointer, pointer, pointer, ctypes.c_int),
        *(pointer, pointer, pointer, number, ctypes.c_int),
    )
    library.co3d_step_plan_bytes.restype = number
    library.co3d_lay_out_frames.argtypes = (pointer, pointer, number, number, ctypes.c_int)
    library.co3d_count_chunks.argtypes = (pointer, ctypes.c_int)
    library.co3d_count_chunks.restype = number
    library.co3d_operation_bytes.restype = number
    assert library.co3d_operation_bytes() == ctypes.sizeof(Operation)
    return library


def _command(compiler: list[str]) -> list[str]:
    # On x86 `march` names the processor, elsewhere `mcpu` does.
    own = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    return [*compiler, *_OPTIONS, own]


def _fingerprint(compiler: list[str]) -> str:
    """Of all that the library depends on; the compiler's macros tell version and processor."""
    command = _command(compiler)
    digest = hashlib.sha256(_run([*command, "-dM", "-E", "-x", "c++", os.devnull]))
    digest.update(repr(command).encode())
    for source in sorted(_SOURCES.iterdir()):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _run(command: list[str]) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.strerror if isinstance(error, OSError) else _find_reason(error.stderr)
        raise MissingPackageError(
            f"backend 'native' cannot be compiled with {command[0]}: {reason}; name a compiler "
            "that knows C++20 and OpenMP in the environment's CXX (g++, or clang++ with libomp), "
            "or use another backend"
        ) from error


def _find_reason(said: bytes) -> str:
    """The line of a compiler's messages that tells most: its first error, or what its linker said.

    That comes before a line which says only that linking failed.
    """
    closing = ("collect2:", "linker command failed")
    lines = [
        line
        for line in said.decode(errors="replace").splitlines()
        if line.strip() and not any(word in line for word in closing)
    ]
    return next((line for line in lines if "error" in line), lines[-1] if lines else "it failed")
