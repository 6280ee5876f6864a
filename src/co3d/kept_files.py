"""Disk caches of files that can be made again; each file is verified when it is read.

A file's name holds its key and the SHA-256 of key and content, so that a damaged file is detected
and made anew. Some of them are code, so a folder that others own or may write to is not used.
"""

import contextlib
import hashlib
import logging
import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from co3d.environment import cache_path
from co3d.errors import OutputError
from co3d.files import forget_least_used, report_refusal
from co3d.partial_files import hold, name_partial

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
# Writing takes less than this, so an older partial file's writer was killed. It may have run on
# another machine, whose locks are not visible here.
_ABANDONED_SECONDS = 3600.0
_PIECE_BYTES = 1 << 20
_LOG = logging.getLogger("co3d")


class KeptFiles:
    """A disk cache for one kind of file, in the platform's cache folder.

    `CO3D_CACHE` in the environment names another folder.

    Args:
        kind: names the folder, and its files in warnings.
        suffix: of every file, such as ".onnx".
        most_files, most_bytes: limits; the least recently used files are removed.
    """

    def __init__(
        self, kind: str, suffix: str, most_files: int, most_bytes: float = math.inf
    ) -> None:
        self.kind, self.suffix = kind, suffix
        self.most_files, self.most_bytes = most_files, most_bytes

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return cache_path() / self.kind

    def find(self, key: str) -> Path | None:
        """The file of a key; None if there is none. A damaged one is removed, with a warning.

        A folder that others own or may write to, or that cannot be read, counts as empty.
        """
        try:
            if not _is_own(self.folder):
                return None
            for path in self.folder.glob(f"{key}.*{self.suffix}"):
                if path.name == _name(key, path, self.suffix):
                    with contextlib.suppress(OSError):  # the folder may be read-only
                        os.utime(path)  # marks the file as used now
                    return path
                self.discard(path, "its content is not what was written")
        except OSError:
            return None
        return None

    def find_any(self, prefix: str) -> Path | None:
        """The most recently used file whose key begins with `prefix`; None without one."""
        try:
            paths = sorted(
                self.folder.glob(f"{prefix}*{self.suffix}"),
                key=lambda path: path.stat().st_mtime,
                reverse=True,
            )
        except OSError:  # another process may remove files, too
            return None
        found = (self.find(path.name.partition(".")[0]) for path in paths)
        return next((path for path in found if path is not None), None)

    def read(self, key: str) -> bytes | None:
        """The content of a key; None as for `find`."""
        path = self.find(key)
        try:
            return None if path is None else path.read_bytes()
        except OSError:
            return None

    def discard(self, path: Path, reason: str) -> None:
        """Remove a damaged file, with a warning."""
        _LOG.warning("%s is damaged (%s): making it again", path, reason)
        path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the folder, and remove partial files that killed processes left in it.

        Raises:
            OutputError: as for `make_own_folder`.
        """
        make_own_folder(self.kind)
        for path in self.folder.glob(f".*.partial{self.suffix}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    @contextmanager
    def make(self, key: str) -> Iterator[Path]:
        """Yield a path to write to; the file is stored under the key when the block succeeds.

        Raises:
            OutputError: the folder is not the user's own, or cannot be written.
        """
        self.prepare()
        temporary = name_partial(self.folder / key, f".partial{self.suffix}")
        with report_refusal(temporary, "name another folder in CO3D_CACHE"):
            temporary.touch(mode=0o600)
            try:
                with hold(temporary):
                    yield temporary
                temporary.replace(self.folder / _name(key, temporary, self.suffix))
            finally:
                temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process may remove files, too
            whole = self.folder.glob(f"[!.]*{self.suffix}")
            forget_least_used(whole, self.most_files, self.most_bytes)

    def write(self, key: str, data: bytes) -> None:
        """Store content under a key; if the cache cannot be written, it is made again next time."""
        with contextlib.suppress(OSError, OutputError), self.make(key) as temporary:
            temporary.write_bytes(data)


def make_own_folder(kind: str) -> Path:
    """Make a cache folder into which nobody else can write.

    Raises:
        OutputError: others own it or may write to it, or it cannot be made.
    """
    folder = cache_path() / kind
    with report_refusal(folder, "name another folder in CO3D_CACHE"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_own(folder):
            raise OutputError(f"cannot write {folder}: it is not the user's own folder")
    return folder


def _is_own(folder: Path) -> bool:
    """Whether a folder exists into which nobody else can write."""
    if os.name == "nt":  # user folders are private there
        return folder.is_dir()
    try:
        status = folder.stat()
    except FileNotFoundError:
        return False
    if status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE:
        return True
    _LOG.warning(
        "the cache %s is not used: others own it or may write to it; forbid that with "
        "chmod go-w, or name a folder of your own in CO3D_CACHE",
        folder,
    )
    return False


def _name(key: str, path: Path, suffix: str) -> str:
    digest = hashlib.sha256(key.encode())
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return f"{key}.{digest.hexdigest()}{suffix}"
