"""Zip archives of which the directory alone would take much memory."""

import io
import struct
import tracemalloc
import zipfile

import pytest

from co3d.errors import WeightError
from co3d.weights import read_checkpoint
from co3d.zip_directory import MOST_DIRECTORY_BYTES, open_zip


def end_record(directory_bytes: int, start: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, directory_bytes, start, 0)


def test_a_large_directory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "w.pth"
    size = 100 << 20
    with path.open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(size + 4)
        file.write(end_record(size, 4))
    tracemalloc.start()
    try:
        with pytest.raises(WeightError, match="its directory has 104857600 bytes"):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * MOST_DIRECTORY_BYTES
    finally:
        tracemalloc.stop()


def test_parts_may_be_larger_than_the_directory():
    file = io.BytesIO()
    content = bytes(MOST_DIRECTORY_BYTES + 1)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", content)
    with open_zip(file) as archive:
        assert archive.read("a") == content
