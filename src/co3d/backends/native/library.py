"""Loads the kernels' shared library: from the wheel, or compiled once by the machine's compiler."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.progress import SpinnerColumn, TimeElapsedColumn

from co3d.backends.native.operation import Operation
from co3d.backends.native.prebuilt import SOURCES, digest_sources, find_prebuilt, list_features
from co3d.console import Console, warn
from co3d.errors import MissingPackageError, OutputError
from co3d.kept_files import KeptFiles
from co3d.progress import open_progress

_COMPILERS = ("c++", "g++", "clang++")
_OPTIONS = ("-O3", "-std=c++20", "-shared", "-fPIC", "-fopenmp")
# One library for each compiler and processor; each takes half a megabyte.
_KEPT = KeptFiles("native", ".so", most_files=16)
# Compiling takes about twenty seconds, and several times as long on a busy machine.
_BUILD_SECONDS = 600.0


def find_compiler() -> list[str] | None:
    """The command of a C++ compiler: `CXX` from the environment, else c++, g++ or clang++."""
    named = os.environ.get("CXX", "").strip()
    # `CXX` may be a path with spaces, or a command with options such as `ccache g++`.
    commands = [[named], named.split()] if named else [[name] for name in _COMPILERS]
    for program, *options in commands:
        if path := shutil.which(program):
            return [path, *options]
    return None


def must_be_built() -> bool:
    """Whether `load_library` would compile the kernels, which takes about a minute."""
    if load_library.cache_info().currsize:
        return False
    compiler, named = find_compiler(), os.environ.get("CXX", "").strip()
    if compiler is None or (not named and find_prebuilt() is not None):
        return False
    try:
        return _KEPT.find(_fingerprint(compiler)) is None
    except MissingPackageError:  # `load_library` raises it again
        return False


def start_building() -> "subprocess.Popen[bytes]":
    """Start a process that compiles the kernels into the cache.

    It outlives this process, so that the next start finds them.
    """
    warn("compiling co3d's kernels in the background, once; PyTorch steps until they are there")
    nothing = subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", f"from {__name__} import load_library; load_library()"],
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        start_new_session=True,
    )


@functools.cache
def load_library() -> Any:
    """Load the kernels: from the wheel, from the cache, or compiled now.

    The wheel's libraries (see `find_prebuilt`) are used unless `CXX` names a compiler. Otherwise
    the library is compiled once per source, processor and compiler, by one process while others
    wait. It is stored in the folder `native` of the platform's cache folder, or of the one that
    `CO3D_CACHE` names; in a temporary folder where that one is not writable or belongs to another
    user. Where there is no compiler, a cached library is used that any compiler built for this
    source and processor.

    Raises:
        MissingPackageError: there is neither a C++ compiler nor a library in the cache, or the
            compiler cannot compile the kernels.
    """
    compiler, named = find_compiler(), os.environ.get("CXX", "").strip()
    ready = None if named else find_prebuilt()
    if ready is None and compiler is None:
        ready = _KEPT.find_any(_key_prefix())
    if ready is not None:
        with contextlib.suppress(OSError):
            return _load(ready)
    if compiler is None:
        looked = f"{named!r}, which CXX names," if named else f"one of {', '.join(_COMPILERS)}"
        raise MissingPackageError(
            f"backend 'native' needs a C++ compiler: {looked} was not found; install g++ or "
            "clang++, or name one in the environment's CXX, or use another backend"
        )
    key = _fingerprint(compiler)
    with contextlib.suppress(OSError, OutputError, Timeout):
        return _load(_KEPT.find(key) or _build_once(compiler, key))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.so"
        _build(compiler, path)
        return _load(path)


@functools.cache
def why_unavailable() -> str | None:
    """Why the kernels cannot be loaded; None where they can. The first call may compile them."""
    try:
        load_library()
    except MissingPackageError as error:
        return str(error)
    return None


def _build_once(compiler: list[str], key: str) -> Path:
    """Compile the library into the cache, unless another process did while this one waited."""
    _KEPT.prepare()
    with FileLock(_KEPT.folder / f".{key}.lock", timeout=_BUILD_SECONDS):
        path = _KEPT.find(key)
        if path is None:
            with _KEPT.make(key) as temporary:
                _build(compiler, temporary)
            path = _KEPT.find(key)
    if path is None:
        raise FileNotFoundError(key)
    return path


def _build(compiler: list[str], path: Path) -> None:
    task = "compiling co3d's kernels for this processor, once; it takes about a minute"
    if not Console(stderr=True).is_terminal:
        warn(task)
    columns = (SpinnerColumn(), "{task.description}", TimeElapsedColumn())
    with open_progress(*columns, transient=True) as progress:
        progress.add_task(task, total=None)
        compile_kernels(compiler, path, _options_of_this_processor())


def compile_kernels(compiler: Sequence[str], path: Path, options: Sequence[str]) -> None:
    """Compile the kernels into a shared library.

    Args:
        compiler: command of a C++ compiler.
        path: the library's path.
        options: compiler options for the processor; those of all processors are added.

    Raises:
        MissingPackageError: the compiler cannot compile them.
    """
    source = str(SOURCES / "kernels.cpp")
    _run([*compiler, *_OPTIONS, *options, source, "-o", str(path)])


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
    library.co3d_prepare_pictures.argtypes = (pointer, number, pointer, pointer)
    library.co3d_count_chunks.argtypes = (pointer, ctypes.c_int)
    library.co3d_count_chunks.restype = number
    library.co3d_operation_bytes.restype = number
    assert library.co3d_operation_bytes() == ctypes.sizeof(Operation)
    return library


def _options_of_this_processor() -> list[str]:
    # On x86 `march` names the processor, elsewhere `mcpu` does.
    return ["-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"]


def _key_prefix() -> str:
    """The part of the key that all compilers' libraries for this source and processor share."""
    features = hashlib.sha256(repr((platform.machine(), sorted(list_features()))).encode())
    return f"kernels-{digest_sources()[:16]}-{features.hexdigest()[:16]}-"


def _fingerprint(compiler: list[str]) -> str:
    """The library's key in the cache: a digest of source, processor and compiler.

    The compiler's predefined macros tell its version and the processor's features.
    """
    command = [*compiler, *_OPTIONS, *_options_of_this_processor()]
    digest = hashlib.sha256(_run([*command, "-dM", "-E", "-x", "c++", os.devnull]))
    digest.update(repr(command).encode())
    return f"{_key_prefix()}{digest.hexdigest()[:16]}"


def _run(command: list[str]) -> bytes:
    try:
        return _run_in_group(command)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingPackageError(
            f"backend 'native' cannot be compiled with {command[0]}: {_explain(error)}; name a "
            "compiler that knows C++20 and OpenMP in the environment's CXX (g++, or clang++ with "
            "libomp), or use another backend"
        ) from error


def _run_in_group(command: list[str]) -> bytes:
    """Run a command and return its stdout; when this call ends, no child of the command is left."""
    pipe = subprocess.PIPE
    with (
        _kill_group_with_parent() as watch,
        subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True) as process,  # noqa: S603
    ):
        try:
            watch(process.pid)
            stdout, stderr = process.communicate(timeout=_BUILD_SECONDS)
        except BaseException:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stdout, stderr)
    return stdout


@contextlib.contextmanager
def _kill_group_with_parent() -> Iterator[Callable[[int], None]]:
    """Yield a function that ties a process group to this process: it is killed when this one dies.

    A shell waits for the end of its stdin, which the system closes even when this process is
    killed. The shell starts before the group does, so that the group is watched from the start.
    """
    if not hasattr(os, "killpg"):
        yield lambda _: None
        return
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", 'read group && { read _; kill -9 -"$group"; }'],
        stdin=subprocess.PIPE,  # it closes with this process
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def watch(group: int) -> None:
        assert watcher.stdin is not None
        watcher.stdin.write(f"{group}\n".encode())
        watcher.stdin.flush()

    try:
        yield watch
    finally:
        watcher.kill()
        watcher.communicate()


def _explain(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return _find_reason(error.stderr)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _find_reason(stderr: bytes) -> str:
    """The most telling line of a compiler's messages: its first error, else the linker's message.

    The linker's message precedes a line which says only that linking failed.
    """
    closing = ("collect2:", "linker command failed")
    lines = [
        line
        for line in stderr.decode(errors="replace").splitlines()
        if line.strip() and not any(word in line for word in closing)
    ]
    return next((line for line in lines if "error" in line), lines[-1] if lines else "it failed")
