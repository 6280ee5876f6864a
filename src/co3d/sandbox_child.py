"""The child process of a sandbox: answers calls, limits its resources, imports from no open folder.

Requests arrive on standard input and answers leave on standard output, each as a length and a
pickle. Anything else written to standard output there is redirected to standard error.
"""

import contextlib
import logging
import os
import pickle
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from co3d.errors import SandboxError

_LENGTH = struct.Struct("<Q")
_LOGGER = "co3d"


@dataclass(frozen=True)
class Request:
    """A call for the child.

    Attributes:
        function, arguments: the call; in a conversation its first argument is a `ParentChannel`.
        is_conversation: whether messages are exchanged until the function returns.
        memory_bytes, cpu_seconds: see `SandboxLimits`.
        log_level: of the parent's log; lower records are not sent.
        folder: the parent's working folder.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    is_conversation: bool
    memory_bytes: int
    cpu_seconds: int
    log_level: int
    folder: str


@dataclass(frozen=True)
class Said:
    """A message of a conversation."""

    message: Any


@dataclass(frozen=True)
class Logged:
    """A record of the child's log."""

    record: logging.LogRecord


@dataclass(frozen=True)
class Returned:
    """The call succeeded."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The call raised an error."""

    error: Exception


class EndOfConversation:
    """The parent's last message of a conversation."""


class ParentChannel:
    """A conversation's channel to the parent, in the child.

    Attributes:
        shared_memory: descriptor of memory that both can map; None if there is none.
    """

    def __init__(self, requests: int, answers: int, shared: int | None, cpu_seconds: int) -> None:
        self._requests, self._answers = requests, answers
        self._cpu_seconds = cpu_seconds
        self._lock = threading.Lock()
        self._heard = SimpleQueue[Any]()
        self._listener = threading.Thread(
            target=self._receive_all, name="co3d listens", daemon=True
        )
        self.shared_memory = shared

    def say(self, message: Any) -> None:
        """Send a message; the CPU limit counts from here."""
        bound_cpu(self._cpu_seconds)
        self.send(Said(message))

    def send(self, answer: Any) -> None:
        """Send an answer that is not a message of the conversation."""
        with self._lock:
            write_message(self._answers, answer)

    def begin(self) -> None:
        """Start to receive messages from the parent."""
        self._listener.start()

    @property
    def is_over(self) -> bool:
        """Whether the parent's last message has arrived."""
        return not self._listener.is_alive()

    def listen(self) -> Iterator[Any]:
        """The parent's messages, until its last; for one thread."""
        while not isinstance(message := self._heard.get(), EndOfConversation):
            yield message

    def finish(self) -> None:
        """Wait for the parent's last message."""
        self._listener.join()

    def _receive_all(self) -> None:
        try:
            message = None
            while not isinstance(message, EndOfConversation):
                message = read_message(self._requests)
                self._heard.put(message)
        except EOFError:  # the parent is gone
            os._exit(0)


def serve(shared_memory: int | None) -> None:
    """Answer requests until standard input ends."""
    requests, answers = os.dup(0), os.dup(1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    is_bounded = False
    with contextlib.suppress(EOFError, OSError):
        while True:
            request: Request = read_message(requests)  # imports what the function needs
            if not is_bounded:
                bound_memory(request.memory_bytes)
                is_bounded = True
            bound_cpu(request.cpu_seconds)
            os.chdir(request.folder)
            channel = ParentChannel(requests, answers, shared_memory, request.cpu_seconds)
            if request.is_conversation:
                channel.begin()
            answer = _answer(request, channel)
            try:
                channel.send(answer)
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                channel.send(Raised(SandboxError(f"its answer cannot be handed over: {error}")))
            if request.is_conversation:
                channel.finish()


def _answer(request: Request, channel: ParentChannel) -> Returned | Raised:
    handler = _LogSender(channel)
    log = logging.getLogger(_LOGGER)
    log.setLevel(request.log_level)
    log.addHandler(handler)
    log.propagate = False
    try:
        first = (channel,) if request.is_conversation else ()
        return Returned(request.function(*first, *request.arguments))
    except MemoryError:
        needs = f"it needs more than {request.memory_bytes >> 20} MiB; raise memory_bytes"
        return Raised(SandboxError(needs))
    except Exception as error:  # noqa: BLE001 (raised again by the parent)
        return Raised(error)
    finally:
        log.removeHandler(handler)


class _LogSender(logging.Handler):
    """Hands records to the parent, with nothing in them that cannot be pickled."""

    def __init__(self, channel: ParentChannel) -> None:
        super().__init__()
        self._talk = channel

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        record.exc_info = None
        with contextlib.suppress(OSError):
            self._talk.send(Logged(record))


def write_message(descriptor: int, message: Any) -> None:
    """Write one message; a short one in a single write, so that others may write concurrently."""
    data = pickle.dumps(message, protocol=5)
    rest = memoryview(_LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_message(descriptor: int) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    (length,) = _LENGTH.unpack(_read(descriptor, _LENGTH.size))
    return pickle.loads(_read(descriptor, length))  # noqa: S301 (from a process of our own)


def _read(descriptor: int, count: int) -> bytearray:
    data = bytearray(count)
    rest = memoryview(data)
    while rest:
        read = os.readv(descriptor, [rest]) if hasattr(os, "readv") else _copy(descriptor, rest)
        if not read:
            raise EOFError
        rest = rest[read:]
    return data


def _copy(descriptor: int, target: memoryview) -> int:
    piece = os.read(descriptor, len(target))
    target[: len(piece)] = piece
    return len(piece)


def bound_memory(limit_bytes: int) -> None:
    """Let this process allocate so many bytes more than it has; only on Linux."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + limit_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def bound_cpu(limit_seconds: int) -> None:
    """Limit this process's further CPU time; not on Windows."""
    if sys.platform == "win32":
        return
    import resource
    import time

    limit = int(time.process_time()) + 1 + limit_seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
