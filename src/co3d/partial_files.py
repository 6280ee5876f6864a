"""Partial files: files being written, under hidden names beside their final ones.

Their writer holds a lock, which ends with the process. So a later process knows which of them
nobody will complete, and removes them; only those of this machine, since some network file systems
do not share locks. Videos that play as far as they were written have another ending (".part") and
stay.
"""

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

try:
    import fcntl
except ImportError:  # Windows, nothing is removed there
    fcntl = None

_MACHINE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]
_NAME = re.compile(rf"\..*\.[0-9a-f]{{8}}{_MACHINE}\.partial(\.[^.]*)?", re.DOTALL)
# There is no lock between creating and locking a file, nor when a library replaces it by another.
_YOUNG_SECONDS = 5.0


def name_partial(path: Path, ending: str) -> Path:
    """A new partial name for `path`, after abandoned partial files beside it are removed.

    Args:
        ending: after the name's random token: ".partial", or ".part" if the file is to survive a
            kill, and a suffix.
    """
    _remove_abandoned(path.parent.absolute())
    return path.with_name(f".{path.name}.{token_hex(4)}{_MACHINE}{ending}")


@contextmanager
def hold(partial: Path) -> Iterator[None]:
    """Lock an existing file or folder, which shows others that it is being written."""
    descriptor = None if fcntl is None else _lock(partial)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Lock an existing folder against other processes while the block runs.

    Yields:
        Whether this process has the lock; always true on file systems without locks.
    """
    if fcntl is None:
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None if another process has it, or locks do not exist."""
    assert fcntl is not None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@lru_cache(maxsize=1024)
def _remove_abandoned(folder: Path) -> None:
    """Remove partial files of killed processes from a folder; done once per process and folder."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
        for name in names:
            _remove_if_abandoned(folder / name)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(OSError):
        if time.time() - path.lstat().st_mtime < _YOUNG_SECONDS:
            return
        descriptor = _lock(path)
        if descriptor is None:
            return
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(descriptor)
