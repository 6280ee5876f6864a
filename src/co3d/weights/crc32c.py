"""CRC-32C (Castagnoli), as in TensorFlow's files, vectorised with NumPy."""

from functools import cache

import numpy as np

_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
_LANES = 1 << 14

_Columns = tuple[int, ...]
"""A linear map on 32 bits: the image of each bit."""


def crc32c(content: bytes | np.ndarray, start: int = 0) -> int:
    """The checksum of bytes.

    Args:
        content: bytes, or a (N,) uint8 array.
        start: checksum of the bytes before them.
    """
    data = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
    begun = _apply(_advance(len(data)), start ^ _ONES)
    return begun ^ _remainder(data) ^ _ONES


def mask(checksum: int) -> int:
    """A checksum in its stored form, which differs so that data may contain checksums."""
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & _ONES


def _remainder(data: np.ndarray) -> int:
    """The register after these bytes, starting from 0."""
    # Leading zeros do not change the result, so they pad the lanes to equal length.
    lanes = _LANES if len(data) >= 4 * _LANES else 1
    length = -(-len(data) // lanes)
    padded = np.zeros(lanes * length, np.uint8)
    if len(data):
        padded[-len(data) :] = data
    rows = padded.reshape(lanes, length).T.copy()
    table = _table()
    registers = np.zeros(lanes, np.uint32)
    for row in rows:
        registers = table[(registers ^ row) & 0xFF] ^ (registers >> 8)
    while len(registers) > 1:
        ahead = np.array(_advance(length), np.uint32)
        earlier, later = registers[0::2], registers[1::2].copy()
        for bit in range(32):
            later ^= np.where(earlier >> np.uint32(bit) & 1, ahead[bit], np.uint32(0))
        registers, length = later, 2 * length
    return int(registers[0])


@cache
def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


def _advance(count: int) -> _Columns:
    """The map of the register for `count` zero bytes."""
    table = _table()
    step = tuple(int(table[1 << bit & 0xFF]) ^ (1 << bit >> 8) for bit in range(32))
    whole = tuple(1 << bit for bit in range(32))
    while count:
        if count & 1:
            whole = tuple(_apply(step, column) for column in whole)
        step = tuple(_apply(step, column) for column in step)
        count >>= 1
    return whole


def _apply(columns: _Columns, value: int) -> int:
    result = 0
    for bit in range(32):
        if value >> bit & 1:
            result ^= columns[bit]
    return result
