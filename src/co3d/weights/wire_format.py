"""Protocol buffers and string tables as TensorFlow writes them, read with limits on everything.

A message is a sequence of fields, each a number and a value. A table (LevelDB's format) has blocks
of sorted keys with values, and an index block with their offsets.
"""

import struct
from collections.abc import Iterator

from co3d.weights.crc32c import crc32c, mask

TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
"""The last eight bytes of a table."""

_FOOTER_BYTES, _TRAILER_BYTES = 48, 5
_MOST_ENTRIES = 1 << 17
_MOST_KEY_BYTES = 1 << 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_varint(content: bytes, start: int) -> tuple[int, int]:
    """A varint (seven bits per byte), and the offset after it.

    Raises:
        ValueError: it has more than 64 bits, or the bytes end before it does.
    """
    value = shift = 0
    for place in range(start, min(start + 10, len(content))):
        byte = content[place]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if value >> 64:
                break
            return value, place + 1
    raise ValueError("a number that does not end, or is of more than 64 bits")


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number and value, which is an integer or bytes.

    Raises:
        ValueError: it is damaged, or has fields of an obsolete kind.
    """
    place = 0
    while place < len(message):
        tag, place = read_varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = read_varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = read_varint(message, place)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of the kind {kind}")
        part = message[place : place + length]
        if len(part) < length:
            raise ValueError("a field that reaches beyond its message")
        place += length
        yield number, part if kind == _BYTES else int.from_bytes(part, "little")


def read_table(content: bytes) -> dict[bytes, bytes]:
    """The keys and values of a table.

    Raises:
        ValueError: it is damaged, compressed, or has more keys than any checkpoint.
    """
    if len(content) < _FOOTER_BYTES or content[-8:] != TABLE_MAGIC:
        raise ValueError("it does not end as a table does")
    footer = content[-_FOOTER_BYTES:]
    _, place = _read_handle(footer, 0)
    index, _ = _read_handle(footer, place)
    found: dict[bytes, bytes] = {}
    blocks = list(_read_block(content, *index))
    # Overlapping blocks could be read many times.
    if sum(_read_handle(handle, 0)[0][1] for _, handle in blocks) > len(content):
        raise ValueError("its blocks overlap")
    for _, handle in blocks:
        for key, value in _read_block(content, *_read_handle(handle, 0)[0]):
            if len(found) == _MOST_ENTRIES:
                raise ValueError(f"more than {_MOST_ENTRIES} keys")
            found[key] = value
    return found


def _read_handle(content: bytes, start: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the offset after them."""
    offset, place = read_varint(content, start)
    size, place = read_varint(content, place)
    return (offset, size), place


def _read_block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size
    if end + _TRAILER_BYTES > len(content) or size < 4:
        raise ValueError("a block that reaches beyond the file")
    (checksum,) = struct.unpack_from("<I", content, end + 1)
    if mask(crc32c(content[offset : end + 1])) != checksum:
        raise ValueError("a block with a wrong checksum: it is damaged")
    if content[end]:
        raise ValueError("a compressed block, which no checkpoint has")
    (restarts,) = struct.unpack_from("<I", content, end - 4)
    last = end - 4 - 4 * restarts
    if last < offset:
        raise ValueError("a block whose restarts reach beyond it")
    block, place, key = content[offset:last], 0, b""
    while place < len(block):
        shared, place = read_varint(block, place)
        own, place = read_varint(block, place)
        length, place = read_varint(block, place)
        if shared > len(key) or shared + own > _MOST_KEY_BYTES or place + own + length > len(block):
            raise ValueError("an entry that reaches beyond its block")
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : place + own + length]
        place += own + length
