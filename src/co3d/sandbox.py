"""Calls in processes of their own: memory and time are bounded, and a death is survived."""

import multiprocessing
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import LifoQueue
from typing import Any, TypeVar

from co3d.errors import OptionError, SandboxError

T = TypeVar("T")


@dataclass(frozen=True)
class SandboxLimits:
    """What one call may take.

    Attributes:
        memory_bytes: beyond what the process has when it starts.
        cpu_seconds: of all its threads. The default lets a day of 1080p be decoded.

    Raises:
        OptionError: one of them is not above zero.
    """

    memory_bytes: int = 4 * 2**30
    cpu_seconds: int = 4 * 3600

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise OptionError(f"cannot limit calls to {name}={value}: expected more than 0")


class Sandbox:
    """Runs calls in child processes, several at a time, one each.

    A child that dies or takes too much is replaced; it inherits nothing (`spawn`), so functions
    and arguments must be such as can be pickled. What a call raises is raised here. On Windows
    there are no limits, and a child's death alone is survived. Threads may share it.

    Args:
        children: calls at a time; more of them wait. A child starts with its first call, in a
            second or two.
        limits: of each call.
    """

    def __init__(self, children: int, limits: SandboxLimits | None = None) -> None:
        self._free = LifoQueue[_Child]()
        self._children = [_Child(limits or SandboxLimits()) for _ in range(children)]
        for child in self._children:
            self._free.put(child)

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a child.

        Raises:
            SandboxError: the child died, of a fault or a limit.
        """
        child = self._free.get()
        try:
            return child.call(function, arguments)
        finally:
            self._free.put(child)

    def close(self) -> None:
        """End the children, in the middle of their calls, too."""
        for child in self._children:
            child.end()


class _Child:
    """A process that answers one call at a time."""

    def __init__(self, limits: SandboxLimits) -> None:
        self._limits = limits
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._has_ended = False

    def call(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            pipe = self._pipe or self._start()
            pipe.send((function, arguments))
            succeeded, value = pipe.recv()
        except (EOFError, OSError) as error:
            raise SandboxError(self._describe_death()) from error
        if not succeeded:
            raise value
        return value

    def end(self) -> None:
        self._has_ended = True
        if self._process is not None:
            self._process.kill()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._limits), daemon=True)
        process.start()
        theirs.close()
        self._process = process
        if self._has_ended:  # meanwhile
            process.kill()
        return self._pipe

    def _describe_death(self) -> str:
        """Why the child has died; the next call starts another."""
        process, self._process, self._pipe = self._process, None, None
        code = None
        if process is not None:
            process.join(1.0)
            code = process.exitcode
        limits = self._limits
        if code == -getattr(signal, "SIGXCPU", 0):
            return f"it took more than {limits.cpu_seconds} s of CPU time; raise cpu_seconds"
        return (
            f"the process that read it died (exit code {code}), of a fault or of the limit of "
            f"{limits.memory_bytes >> 20} MiB; fetch the file again, or raise memory_bytes"
        )


def _serve(pipe: Connection, limits: SandboxLimits) -> None:
    """Answer calls until the pipe is closed; runs in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    is_bounded = False
    with suppress(EOFError, OSError):
        while True:
            function, arguments = pipe.recv()  # imports what the function needs
            if not is_bounded:
                _bound_memory(limits.memory_bytes)
                is_bounded = True
            _bound_time(limits.cpu_seconds)
            try:
                answer = (True, function(*arguments))
            except MemoryError:
                needs = f"it needs more than {limits.memory_bytes >> 20} MiB; raise memory_bytes"
                answer = (False, SandboxError(needs))
            except Exception as error:  # noqa: BLE001 (raised again by the parent)
                answer = (False, error)
            pipe.send(answer)


def _bound_memory(limit_bytes: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + limit_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _bound_time(limit_seconds: int) -> None:
    if sys.platform == "win32":
        return
    import resource
    import time

    limit = int(time.process_time()) + 1 + limit_seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
