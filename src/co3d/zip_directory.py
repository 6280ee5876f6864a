"""Zip archives whose directory, which is read first, is of a size that real ones have."""

from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

MOST_DIRECTORY_BYTES = 8 << 20
"""Some hundred thousand parts; each takes ten times what the directory says of it."""


def open_zip(file: BinaryIO) -> ZipFile:
    """An archive over an open file, which the caller closes.

    Raises:
        BadZipFile: it is none, or its directory has more than `MOST_DIRECTORY_BYTES`.
    """
    bounded = _BoundedReads(file)
    archive = ZipFile(bounded)  # type: ignore[arg-type]
    bounded.is_bounded = False
    return archive


class _BoundedReads:
    """A file of which no large piece is read at once, as `ZipFile` does with the directory."""

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
