"""A terminal that does not print `^C` into what is drawn on it."""

import contextlib
import os
from collections.abc import Iterator
from typing import TextIO

try:
    import termios
except ImportError:  # Windows
    termios = None

_LOCAL_FLAGS = 3  # their place among a terminal's attributes


@contextlib.contextmanager
def quiet_terminal(stream: TextIO) -> Iterator[None]:
    """Keep a terminal from echoing control characters in the block.

    An echoed `^C` makes the last line of a live view too long for its terminal, and what is redrawn
    then stands a line below what it should replace. Where the stream is no terminal, or this
    process is in its background (where changing it would stop the process), nothing is done.
    """
    if termios is None or not stream.isatty():
        yield
        return
    descriptor = stream.fileno()
    before = None
    with contextlib.suppress(OSError, termios.error):
        if os.tcgetpgrp(descriptor) == os.getpgrp():
            before = termios.tcgetattr(descriptor)
            quiet = list(before)
            quiet[_LOCAL_FLAGS] &= ~termios.ECHOCTL
            termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError, termios.error):  # the terminal may be gone
                if os.tcgetpgrp(descriptor) == os.getpgrp():
                    termios.tcsetattr(descriptor, termios.TCSANOW, before)
