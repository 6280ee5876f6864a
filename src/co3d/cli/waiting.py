"""What is going on, said on a terminal once nothing has been said for a second."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from co3d.console import Console

SILENCE_SECONDS = 1.0


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner and what is being done, if the block takes longer than a second.

    It is on standard error, on a terminal only, and gone when the block ends.
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
        timer.join()  # it may be starting the spinner just now
        status.stop()
