"""What can be made again, kept from one start to the next: checked whenever it is read.

The name of a file holds its key and the SHA-256 of key and content, so that a damaged one is found
and made anew. Some of these files are code: a folder that others own or may write to is not used.
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
# Nothing takes so long to write: whoever began it was killed, on another machine, or before locks.
_ABANDONED_SECONDS = 3600.0
_PIECE_BYTES = 1 << 20
_LOG = logging.getLogger("co3d")


class KeptFiles:
    """The files of one kind, in a folder of the platform's folder for caches.

    `CO3D_CACHE` in the environment names another one.

    Args:
        kind: names the folder, and what is in it in warnings.
        suffix: of every file, such as ".onnx".
        most_files, most_bytes: that may stay; those that were used least recently go.
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
        """The whole file under a key; None without one. A damaged one is removed, with a warning.

        A folder that is not the user's own, or cannot be read, has none.
        """
        try:
            if not _is_own(self.folder):
                return None
            for path in self.folder.glob(f"{key}.*{self.suffix}"):
                if path.name == _name(key, path, self.suffix):
                    with contextlib.suppress(OSError):  # one may read without writing
                        os.utime(path)  # used just now
                    return path
                self.discard(path, "its content is not what was written")
        except OSError:
            return None
        return None

    def find_any(self, prefix: str) -> Path | None:
        """The whole file used last of those whose keys begin so; None without one."""
        try:
            paths = sorted(
                self.folder.glob(f"{prefix}*{self.suffix}"),
                key=lambda path: path.stat().st_mtime,
                reverse=True,
            )
        except OSError:  # another process removes some as well
            return None
        found = (self.find(path.name.partition(".")[0]) for path in paths)
        return next((path for path in found if path is not None), None)

    def read(self, key: str) -> bytes | None:
        """The content kept under a key; None as for `find`."""
        path = self.find(key)
        try:
            return None if path is None else path.read_bytes()
        except OSError:
            return None

    def discard(self, path: Path, reason: str) -> None:
        """Remove a file that is no good, and say so."""
        _LOG.warning("%s is damaged (%s): making it again", path, reason)
        path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the folder, and remove what a process has left in it that was killed.

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
        """Yield a path to write; what was written is kept under the key when the block ends well.

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
        with contextlib.suppress(OSError):  # another process removes some as well
            whole = self.folder.glob(f"[!.]*{self.suffix}")
            forget_least_used(whole, self.most_files, self.most_bytes)

    def write(self, key: str, data: bytes) -> None:
        """Keep some content; a cache that cannot be written costs time at the next start alone."""
        with contextlib.suppress(OSError, OutputError), self.make(key) as temporary:
            temporary.write_bytes(data)


def make_own_folder(kind: str) -> Path:
    """A folder of the cache that nobody else can put a file into.

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
    """Whether a folder is there and nobody else can put a file into it."""
    if os.name == "nt":  # folders of a user are the user's there
        return folder.is_dir()
    try:
        status = folder.stat()
    except FileNotFoundError:
        return False
    if status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE:
        return True
    _LOG.warning(
        "the cache %s is not used: others own it or may write to it; take that from them "
        "(chmod go-w), or name a folder of your own in CO3D_CACHE",
        folder,
    )
    return False


def _name(key: str, path: Path, suffix: str) -> str:
    digest = hashlib.sha256(key.encode())
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return f"{key}.{digest.hexdigest()}{suffix}"
