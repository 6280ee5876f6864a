"""Files that are being written, under hidden names beside their final ones.

Whoever writes one holds a lock on it, which ends with the process. So a later process knows which
of them nobody will complete, and removes them: those of this machine alone, since some network
file systems keep locks to themselves. Videos that play as far as they are written are named
otherwise (".part") and stay.
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
except ImportError:  # Windows, where nothing is removed
    fcntl = None

_MACHINE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]
_NAME = re.compile(rf"\..*\.[0-9a-f]{{8}}{_MACHINE}\.partial(\.[^.]*)?", re.DOTALL)
# Between making a file and locking it, and where a library replaces it by another, it has no lock.
_YOUNG_SECONDS = 5.0


def name_partial(path: Path, ending: str) -> Path:
    """A new name for what is to become `path`, once nobody else's lies beside it any more.

    Args:
        ending: after the name's own token: ".partial", or ".part" for what is to stay after a kill,
            and a suffix.
    """
    _remove_abandoned(path.parent.absolute())
    return path.with_name(f".{path.name}.{token_hex(4)}{_MACHINE}{ending}")


@contextmanager
def hold(partial: Path) -> Iterator[None]:
    """Let others see that a file or folder, which is there, is being written."""
    descriptor = None if fcntl is None else _lock(partial)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Keep other processes from claiming a folder, which is there, while the block runs.

    Yields:
        Whether it is ours now; of file systems without locks it is always.
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
    """A descriptor that holds the lock; None where it is held, or there are none here."""
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
    """Remove what killed processes have left in a folder; looked for once a process."""
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
