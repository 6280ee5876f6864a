"""Keep a terminal from echoing `^C` into a live view."""

import contextlib
import os
from collections.abc import Iterator
from typing import TextIO

try:
    import termios
except ImportError:  # Windows
    termios = None

_LOCAL_FLAGS = 3  # their index in a terminal's attributes


@contextlib.contextmanager
def quiet_terminal(stream: TextIO) -> Iterator[None]:
    """Keep a terminal from echoing control characters in the block.

    An echoed `^C` makes the last line of a live view too long, and the redrawn view then stands a
    line too low. Does nothing if the stream is not a terminal, or if this process is in its
    background, where changing it would stop the process.
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
