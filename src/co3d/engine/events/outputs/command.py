"""An output that starts a program for each record."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from co3d.engine.events.outputs.output import Delivery, FailedDeliveryError
from co3d.errors import OutputError

WAKE_SECONDS = 0.1
SHOWN_LETTERS = 200


class CommandOutput:
    """Starts a program, without a shell, and gives it the record as JSON on standard input.

    Exit code 0 means success. Its standard output is discarded; if it fails, the end of its
    standard error becomes part of the error.

    Args:
        command: the program and its arguments.
        limit_seconds: after this time it is killed, with its children.
        most_tries: how often a record is tried.
    """

    def __init__(
        self, command: Sequence[str], limit_seconds: float = 30.0, most_tries: int | None = 10
    ) -> None:
        self._command, self._limit_seconds = list(command), limit_seconds
        self.most_tries = most_tries

    def check(self) -> None:
        """Check that the program exists; see `Output`."""
        if shutil.which(self._command[0]) is None:
            raise OutputError(
                f"cannot start {self._command[0]}: there is no such program; give its full path"
            )

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:
        """Start the program and wait for its end; see `Output`."""
        text = json.dumps(delivery.as_dict(), ensure_ascii=False).encode()
        try:
            process = subprocess.Popen(  # noqa: S603 (the user's own command)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise FailedDeliveryError(f"cannot start {self._command[0]}: {error}") from error
        with process:
            stderr = self._wait(process, text, stopping)
        if process.returncode != 0:
            shown = stderr.decode(errors="replace").strip()[-SHOWN_LETTERS:]
            raise FailedDeliveryError(
                f"{self._command[0]} ended with code {process.returncode}"
                + (f": {shown}" if shown else "")
            )

    def close(self) -> None:
        """Nothing is held open."""

    def _wait(
        self, process: "subprocess.Popen[bytes]", text: bytes, stopping: threading.Event
    ) -> bytes:
        """Wait for the program, and return its standard error."""
        until = time.monotonic() + self._limit_seconds
        given: bytes | None = text
        while True:
            try:
                return process.communicate(given, timeout=WAKE_SECONDS)[1]
            except subprocess.TimeoutExpired:
                given = None  # `communicate` continues with the first call's input
            if stopping.is_set() or time.monotonic() > until:
                _kill(process)
                why = "stopped" if stopping.is_set() else f"killed after {self._limit_seconds:g} s"
                raise FailedDeliveryError(f"{self._command[0]} was {why}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program and its children."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
