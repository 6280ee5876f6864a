"""Closes open engines when Python exits.

Python before 3.14 ends daemon threads at exit wherever they next acquire the GIL. If a worker is
inside PyTorch at that moment, the process aborts ("terminate called without an active exception"),
and the program's own exit status is lost.
"""

import atexit
import weakref
from typing import Protocol


class Closable(Protocol):
    """An object that owns threads."""

    def close(self) -> None:
        """End the threads; further calls do nothing."""
        ...


_open: "weakref.WeakSet[Closable]" = weakref.WeakSet()


def close_at_exit(closable: Closable) -> None:
    """Close an object when Python exits, unless it has been garbage-collected before."""
    _open.add(closable)


@atexit.register
def _close_all() -> None:
    for closable in list(_open):
        closable.close()
