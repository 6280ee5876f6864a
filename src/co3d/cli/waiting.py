"""Show a spinner with the current activity after a second of silence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from co3d.console import Console

SILENCE_SECONDS = 1.0


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner and `what` if the block takes longer than a second.

    It appears on standard error, only on a terminal, and vanishes when the block ends.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(what)
    timer = threading.Timer(SILENCE_SECONDS, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be about to start the spinner
        status.stop()
