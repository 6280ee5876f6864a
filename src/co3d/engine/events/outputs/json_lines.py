"""An output that writes records as lines of JSON, to a file or standard output."""

import os
import sys
import threading
from pathlib import Path

from co3d.engine.events.outputs.output import Delivery, FailedDeliveryError
from co3d.errors import OutputError
from co3d.printable import dump_json


class JsonLinesOutput:
    """Appends a line of JSON for each record, and syncs the file after each.

    Args:
        path: the file's path, created if absent; None for standard output.
    """

    most_tries = None

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self) -> None:
        """Open the file; see `Output`."""
        if self._path is None:
            return
        try:
            self._path.open("ab").close()
        except OSError as error:
            raise OutputError(
                f"cannot write events to {self._path}: {error.strerror}; choose another file"
            ) from error

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:  # noqa: ARG002
        """Append a line; see `Output`."""
        line = dump_json(delivery.record.as_dict()) + "\n"
        try:
            if self._path is None:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                _append(self._path, line.encode())
        except (OSError, ValueError) as error:  # ValueError: standard output is closed
            raise FailedDeliveryError(f"cannot write {self._path or 'stdout'}: {error}") from error

    def close(self) -> None:
        """Nothing is held open."""


def _append(path: Path, line: bytes) -> None:
    """Append a line; one that a crash or a full disk cut short is ended first."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
