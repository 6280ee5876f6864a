"""Run calls in child processes with limited memory and time, and survive the death of a child.

`read_in_sandbox` reads checkpoints and videos in this way. It guards against files that crash a
decoder, hang it or exhaust memory. Whoever takes over a decoder still has the user's rights.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from co3d.arguments import check_arguments
from co3d.errors import OptionError, SandboxError
from co3d.printable import short_repr
from co3d.sandbox_child import (
    EndOfConversation,
    Logged,
    Raised,
    Request,
    Returned,
    Said,
    read_message,
    write_message,
)

T = TypeVar("T")
_LOG = logging.getLogger("co3d")
_CLOCK_TIMES, _LEAST_CLOCK_SECONDS = 4, 60.0
"""On a busy machine a call takes longer than its CPU time; after so many times as long, it
hangs."""

_LOOK_SECONDS = 0.2
_FAREWELL_SECONDS = 5.0
_START = "import sys; sys.path[:] = {path!r}; from co3d.sandbox_child import serve; serve({memory})"


@dataclass(frozen=True)
class SandboxLimits:
    """Limits of one call.

    Attributes:
        memory_bytes: beyond what the process has at its start; only on Linux.
        cpu_seconds: of all its threads, per call, or per frame of a video; not on Windows. The
            default allows a day of 1080p in one call.

    Raises:
        OptionError: one of them is not above zero.
    """

    memory_bytes: int = 4 * 2**30
    cpu_seconds: int = 4 * 3600

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int | float) or not value > 0:
                raise OptionError(
                    f"cannot limit calls to {name}={short_repr(value)}: expected a number above 0"
                )


READING_LIMITS = SandboxLimits(cpu_seconds=300)
"""Limits for reading one checkpoint, or each frame of a video."""


class Sandbox:
    """Runs calls in child processes, each in its own; calls may run in parallel.

    A child that dies or exceeds a limit is replaced; functions and arguments must be picklable.
    Exceptions and log records of a call appear here. Threads may share a sandbox, and forked
    processes start their own children.

    Args:
        limits: of each call.
    """

    def __init__(self, limits: SandboxLimits | None = None) -> None:
        self._limits = limits or SandboxLimits()
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._has_ended = False

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a child; starting a new child takes a second or two.

        Raises:
            SandboxError: the child died of a fault or a limit.
        """
        child = self._take()
        try:
            child.ask(self._request(function, arguments, is_conversation=False))
            while not isinstance(answer := child.receive(), Returned):
                pass
            return answer.value
        finally:
            self._give_back(child)

    def converse(self, function: Callable[..., Any], *arguments: Any) -> "Conversation":
        """Call a function with a `ParentChannel`, and exchange messages with it.

        Raises:
            SandboxError: no child could be started.
        """
        child = self._take()
        try:
            child.ask(self._request(function, arguments, is_conversation=True))
        except BaseException:
            child.end()
            self._give_back(child)
            raise
        return Conversation(child, self._give_back)

    def close(self) -> None:
        """Kill the children, even during their calls."""
        with self._lock:
            self._has_ended = True
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.end()

    def _request(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], *, is_conversation: bool
    ) -> Request:
        limits = self._limits
        return Request(
            function,
            arguments,
            is_conversation,
            limits.memory_bytes,
            limits.cpu_seconds,
            _LOG.getEffectiveLevel(),
            str(Path.cwd()),
        )

    def _take(self) -> "_Child":
        with self._lock:
            if self._has_ended:
                raise SandboxError("its sandbox is closed; open another")
            if self._owner != os.getpid():  # forked: the children belong to the parent
                self._owner = os.getpid()
                self._idle, self._busy = [], set()
            child = self._idle.pop() if self._idle else _Child(self._limits)
            self._busy.add(child)
            return child

    def _give_back(self, child: "_Child") -> None:
        with self._lock:
            self._busy.discard(child)
            if self._has_ended or not child.is_ready or self._owner != os.getpid():
                child.end()
            else:
                self._idle.append(child)


class Conversation:
    """Messages to and from a function that runs in a child."""

    def __init__(self, child: "_Child", give_back: Callable[["_Child"], None]) -> None:
        self._child, self._give_back = child, give_back
        self._owner = os.getpid()
        self._has_stopped = self._is_closed = False

    def say(self, message: Any) -> None:
        """Send a short message; safe in any thread and in signal handlers."""
        with suppress(OSError):  # the next `receive` reports a dead child
            self._child.send(message)

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError: the function has returned.
            SandboxError: the child died of a fault or a limit.
            Whatever the function raises.
        """
        if not self._child.is_answering:
            raise EOFError
        answer = self._child.receive()
        if isinstance(answer, Said):
            return answer.message
        raise EOFError

    def share(self, size_bytes: int) -> int:
        """Resize the shared memory; returns its descriptor here."""
        return self._child.share(size_bytes)

    def stop(self) -> None:
        """Tell the function to stop; kills the child after five seconds."""
        if not self._has_stopped:
            self._has_stopped = True
            self._child.deadline = time.monotonic() + _FAREWELL_SECONDS
            self.say(EndOfConversation())

    def close(self) -> None:
        """Let the function end, and return its process for reuse; nobody may be receiving."""
        if self._is_closed or self._owner != os.getpid():
            return
        self._is_closed = True
        self.stop()
        with suppress(Exception):
            while True:
                self.receive()
        self._child.deadline = None
        self._give_back(self._child)


class _Child:
    """A process that answers one call at a time.

    Attributes:
        deadline: when to kill it if it is still answering, on the monotonic clock.
        is_answering: whether a call is running.
    """

    def __init__(self, limits: SandboxLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._shared: int | None = None
        self._has_ended = False
        self.deadline: float | None = None
        self.is_answering = False

    @property
    def is_ready(self) -> bool:
        """Whether it can take another call."""
        return self._process is not None and not self._has_ended and not self.is_answering

    def ask(self, request: Request) -> None:
        """Begin a call."""
        try:
            if self._process is None:
                self._start()
            self.is_answering = True
            self.send(request)
        except OSError as error:
            raise self._explain_death() from error

    def send(self, message: Any) -> None:
        """Write a message to it."""
        if self._process is None or self._process.stdin is None:
            raise BrokenPipeError
        write_message(self._process.stdin.fileno(), message)

    def receive(self) -> Said | Returned:
        """The next answer; emits its log records, and raises its exceptions."""
        patience_seconds = max(_CLOCK_TIMES * self._limits.cpu_seconds, _LEAST_CLOCK_SECONDS)
        ends = time.monotonic() + patience_seconds
        process = self._process
        if process is None or process.stdout is None:
            raise self._explain_death()
        descriptor = process.stdout.fileno()
        while True:
            while not _is_readable(descriptor):
                now = time.monotonic()
                if self.deadline is not None and now > self.deadline:
                    raise self._explain_death("it did not stop")
                if now > ends:
                    raise self._explain_death(f"it hangs: no answer came in {patience_seconds} s")
            try:
                answer = read_message(descriptor)
            except (EOFError, OSError) as error:
                raise self._explain_death() from error
            except Exception as error:
                raise self._explain_death(f"its answer cannot be read: {error}") from error
            if isinstance(answer, Logged):
                logging.getLogger(answer.record.name).handle(answer.record)
                continue
            self.is_answering = isinstance(answer, Said)
            if isinstance(answer, Raised):
                raise answer.error
            return answer

    def share(self, size_bytes: int) -> int:
        """See `Conversation.share`."""
        assert self._shared is not None
        os.ftruncate(self._shared, max(size_bytes, os.fstat(self._shared).st_size))
        return self._shared

    def end(self) -> None:
        """Kill it; a waiting `receive` raises."""
        self._has_ended = True
        if self._process is not None:
            self._process.kill()
            if not self.is_answering:
                self._explain_death()

    def _start(self) -> None:
        self._shared = _make_shared_file()
        path = [entry for entry in sys.path if entry]
        program = _START.format(path=path, memory=self._shared)
        # Isolated mode, since Python otherwise searches the working folder for modules first.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if self._shared is None else (self._shared,),
            start_new_session=True,  # Ctrl-C goes to this process only
        )
        if self._has_ended:  # killed meanwhile
            self._process.kill()

    def _explain_death(self, reason: str = "") -> SandboxError:
        """Why the child died or was killed."""
        process, self._process, self.is_answering = self._process, None, False
        code = None
        if process is not None:
            if reason:
                process.kill()
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(1.0)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        limits = self._limits
        if code == -getattr(signal, "SIGXCPU", 0):
            reason = f"it took more than {limits.cpu_seconds} s of CPU time; raise cpu_seconds"
        return SandboxError(
            reason
            or f"the process that read it died (exit code {code}), of a fault or of the limit of "
            f"{limits.memory_bytes >> 20} MiB; fetch the file again, or raise memory_bytes"
        )

    def __del__(self) -> None:
        if self._shared is not None:
            os.close(self._shared)


def _is_readable(descriptor: int) -> bool:
    """Whether the descriptor has data, waiting briefly."""
    if sys.platform == "win32":  # no waiting on pipes there: the read itself waits
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(_LOOK_SECONDS * 1000))


def _make_shared_file() -> int | None:
    """An unnamed file, which a child can map, too."""
    if sys.platform == "win32":
        return None
    if hasattr(os, "memfd_create"):
        return os.memfd_create("co3d")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_reading: list[Sandbox] = []


@check_arguments()
@contextmanager
def read_in_sandbox(limits: SandboxLimits = READING_LIMITS) -> Iterator[Sandbox]:
    """Read checkpoints and videos in child processes while the block runs, in all threads.

    A file that crashes its reader, hangs or exceeds a limit raises SandboxError, and other reads
    are not affected. Otherwise results are the same: tensors, frames, notices and errors. A child
    starts in a second or two, and is reused. Videos that are still open at the end are closed.

    Args:
        limits: per checkpoint, and per frame of a video.
    """
    sandbox = Sandbox(limits)
    _reading.append(sandbox)
    try:
        yield sandbox
    finally:
        _reading.remove(sandbox)
        sandbox.close()


def find_sandbox() -> Sandbox | None:
    """The sandbox in which to read checkpoints and videos; None for this process."""
    return _reading[-1] if _reading else None
