"""A faster executable of a program, made in the background while another one steps."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from co3d.backends.contract import Executable

_LOG = logging.getLogger("co3d")


@dataclass(frozen=True)
class Made:
    """An executable that is ready to step.

    Attributes:
        executable: of the same program, device and results.
        description: what runs it, and why, in words.
    """

    executable: Executable
    description: str


class Successor:
    """Makes an executable in a thread of its own.

    Args:
        make: takes as long as it likes. What it raises is logged, and the program steps as before.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: Made | None = None
        self._thread = threading.Thread(target=self._run, name="co3d successor", daemon=True)
        self._thread.start()

    def take(self) -> Made | None:
        """What was made; None until then."""
        return self._made

    def wait(self) -> None:
        """Wait until it is made, or is known not to be."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._made = self._make()
        # It runs beside a stream that does well without it.
        except Exception as error:  # noqa: BLE001
            _LOG.warning("no faster backend: %s", error)
