"""Makes a faster executable of a program in the background, while another one steps."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from co3d.backends.contract import Executable

_LOG = logging.getLogger("co3d")


@dataclass(frozen=True)
class ReadyExecutable:
    """An executable that is ready to step.

    Attributes:
        executable: for the same program, device and output dtype.
        description: what runs it, and why, in words.
    """

    executable: Executable
    description: str


class Successor:
    """Makes an executable in its own thread.

    Args:
        make: makes the executable. If it raises, the error is logged and nothing is replaced.
    """

    def __init__(self, make: Callable[[], ReadyExecutable]) -> None:
        self._make = make
        self._made: ReadyExecutable | None = None
        self._thread = threading.Thread(target=self._run, name="co3d successor", daemon=True)
        self._thread.start()

    def take(self) -> ReadyExecutable | None:
        """The executable; None until it is ready."""
        return self._made

    def wait(self) -> None:
        """Wait until it is ready or has failed."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._made = self._make()
        # The program can step without it, so that a failure must not end its streams.
        except Exception as error:  # noqa: BLE001
            _LOG.warning("no faster backend: %s", error)
