"""Open zip archives only if their directory has a plausible size, since it is read first."""

from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

MOST_DIRECTORY_BYTES = 8 << 20
"""Enough for some hundred thousand parts; in memory each takes ten times its directory entry."""


def open_zip(file: BinaryIO) -> ZipFile:
    """An archive over an open file, which the caller closes.

    BadZipFile: it is not a zip archive, or its directory exceeds `MOST_DIRECTORY_BYTES`.
    """
    bounded = _BoundedReads(file)
    archive = ZipFile(bounded)  # type: ignore[arg-type]
    bounded.is_bounded = False
    return archive


class _BoundedReads:
    """Refuses large single reads, which `ZipFile` uses for the directory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_bounded = True
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if self.is_bounded and count > MOST_DIRECTORY_BYTES:
            raise BadZipFile(
                f"its directory has {count} bytes, expected {MOST_DIRECTORY_BYTES} at most"
            )
        return self._file.read(count)
