"""Handle a standard output or error that is full, closed, or cannot encode a name."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

from co3d.errors import OutputError

UNWRITABLE = frozenset({errno.ENOSPC, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT})


@contextmanager
def standard_streams() -> Iterator[None]:
    """Write what the block prints, or raise why it cannot be written.

    A closed stream discards what is printed. Names that are not UTF-8 are printed with escapes such
    as `\\udc80`, which JSON readers turn back into the name's bytes.

    Raises:
        OutputError: standard output cannot be written, for instance on a full disk.
    """
    sys.stdout, sys.stderr = sys.stdout or _open_nothing(), sys.stderr or _open_nothing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if isinstance(error, OutputError) or error.errno not in UNWRITABLE or error.filename:
            raise
        _discard_output()
        raise OutputError(
            f"cannot write standard output: {error.strerror}; free some space, or direct it "
            "elsewhere"
        ) from error


def _open_nothing() -> TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 (lives with the process)


def _discard_output() -> None:
    """Discard buffered output, else Python tries to write it again as it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
