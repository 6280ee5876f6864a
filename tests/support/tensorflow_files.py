"""A writer of TensorFlow's checkpoints, byte by byte after its documents, for tests of the reader.

The formats: leveldb/doc/table_format.md, tensor_bundle.proto, trackable_object_graph.proto.
"""

import struct

import numpy as np

DTYPES = {np.dtype("<f4"): 1, np.dtype("<f8"): 2, np.dtype("<i8"): 9}
MAGIC = 0xDB4775248B80FB57


def checksum(content, register=0):
    """CRC-32C, bit by bit."""
    register ^= 0xFFFFFFFF
    for byte in content:
        register = _TABLE[(register ^ byte) & 255] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


def _divide(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_divide(byte) for byte in range(256)]


def mask(value):
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) % (1 << 32)


def varint(value):
    """Seven bits a byte, the last ones first."""
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def text(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def block(pairs, kind=0):
    """A block of sorted pairs, with a restart at every 16th; and its trailer."""
    out, restarts, before = bytearray(), [], b""
    for place, (key, value) in enumerate(pairs):
        shared = 0
        if place % 16 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(before), len(key)) and before[shared] == key[shared]:
                shared += 1
        own = key[shared:]
        out += varint(shared) + varint(len(own)) + varint(len(value)) + own + value
        before = key
    out += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    trailer = bytes([kind])
    return bytes(out), trailer + struct.pack("<I", mask(checksum(bytes(out) + trailer)))


def table(pairs, kind=0):
    """A file of blocks of 20 pairs, an empty metaindex, an index, and a footer."""
    pairs = sorted(pairs.items())
    content, index = bytearray(), []

    def add(rows, one_kind=0):
        body, trailer = block(rows, one_kind)
        handle = varint(len(content)) + varint(len(body))
        content.extend(body + trailer)
        return handle

    for start in range(0, len(pairs), 20):
        rows = pairs[start : start + 20]
        index.append((rows[-1][0], add(rows, kind)))
    metaindex = add([])
    handles = metaindex + add(index)
    return bytes(content) + handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def object_graph(names):
    """A graph with an object a variable: key in the file -> name of the variable."""
    nodes = [
        text(2, text(1, "VARIABLE_VALUE") + text(2, name) + text(3, key))
        for key, name in names.items()
    ]
    return b"".join(text(1, node) for node in [b"", *nodes])


def write_checkpoint(prefix, arrays, names, *, kind=0, **changes):
    """PREFIX.index and PREFIX.data-00000-of-00001.

    Args:
        prefix: of the two paths.
        arrays: by key in the file. names: of variables, by key.
        kind: of compression, as the blocks say.
        changes: bytes of entries that are written in place of what is right, by key.
    """
    data, entries = bytearray(), {}
    for key, array in sorted(arrays.items()):
        content = array.tobytes()
        sizes = b"".join(text(2, number(1, size)) for size in array.shape)
        entries[key] = (
            number(1, DTYPES[array.dtype])
            + text(2, sizes)
            + number(4, len(data))
            + number(5, len(content))
            + varint(6 << 3 | 5)
            + struct.pack("<I", mask(checksum(content)))
        )
        data += content
    graph = object_graph(names)
    lengths = struct.pack("<I", len(graph))
    of_lengths = struct.pack("<I", mask(checksum(lengths)))
    content = varint(len(graph)) + of_lengths + graph
    whole = checksum(lengths + of_lengths + graph)
    entries["_CHECKPOINTABLE_OBJECT_GRAPH"] = (
        number(1, 7)
        + text(2, b"")
        + number(4, len(data))
        + number(5, len(content))
        + varint(6 << 3 | 5)
        + struct.pack("<I", mask(whole))
    )
    data += content
    entries |= changes
    header = {b"": number(1, 1) + text(3, number(1, 1))}
    rows = header | {key.encode(): value for key, value in entries.items()}
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(rows, kind))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(bytes(data))
    return index
