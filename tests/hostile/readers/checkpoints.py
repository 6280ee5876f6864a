"""Checkpoints that a stranger may hand on: small files that keep a reader busy, or exhaust it."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence

ORDERED = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    """A step that makes text."""
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    """A step that makes an integer of any size."""
    content = value.to_bytes((value.bit_length() + 8) // 8 or 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def tensor(shape: Sequence[int], strides: Sequence[int], count: int = 100, key: str = "0") -> bytes:
    """Steps that make a float32 tensor over a storage of `count` numbers."""
    storage = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count)
    sizes = b"(" + b"".join(map(number, shape)) + b"t(" + b"".join(map(number, strides)) + b"t"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQK\x00" + sizes
    return made + b"\x89" + ORDERED + b"tR"


def entry(made: bytes, name: str = "w") -> bytes:
    """The pickle of a dictionary of one entry."""
    return b"\x80\x02}" + text(name) + made + b"s."


def torch_zip(
    pickle: bytes, storage: bytes = bytes(400), compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A file as `torch.save` writes it, with one storage."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in (("data.pkl", pickle), ("version", b"3\n"), ("data/0", storage)):
            archive.writestr(f"a/{name}", content)
    return file.getvalue()


def many_times(levels: int = 40, width: int = 4) -> tuple[bytes, bytes]:
    """Steps that make tuples, each of four times the one before, and one that takes the last."""
    made = b")q\x00"
    for level in range(1, levels):
        made += b"(" + (b"h" + bytes([level - 1])) * width + b"tq" + bytes([level])
    return made, b"h" + bytes([levels - 1])


def overlapping_records(count: int = 2000, size: int = 1 << 20) -> bytes:
    """An archive whose directory names the same megabyte under many names."""
    tensors = b"".join(
        text(f"w{i}") + tensor((size // 4,), (1,), size // 4, str(i)) for i in range(count)
    )
    whole = torch_zip(b"\x80\x02}(" + tensors + b"u.", bytes(size))
    file = io.BytesIO(whole)
    with zipfile.ZipFile(file, "a") as archive:
        record = archive.getinfo("a/data/0")
        for i in range(1, count):
            copy = zipfile.ZipInfo(f"a/data/{i}")
            copy.header_offset, copy.CRC = record.header_offset, record.CRC
            copy.file_size, copy.compress_size = record.file_size, record.compress_size
            archive.filelist.append(copy)
        archive._didModify = True  # type: ignore[attr-defined]
    return file.getvalue()


def safetensors(header: dict[str, object], content: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + content


def tuples_of_one_hash(count: int) -> list[tuple[int, int]]:
    """Pairs that Python, whose hash of numbers in a tuple is known, gives the same hash."""
    whole, first, second = 1 << 64, 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
    inverse, found, number_ = pow(second, -1, whole), [], 0
    while len(found) < count:
        number_ += 1
        lane = (0x27D4EB2F165667C5 + number_ * second) % whole
        lane = ((lane << 31 | lane >> 33) * first) % whole
        other = (1 - lane) * inverse % whole
        other -= whole * (other >> 63)
        if abs(other) < 1 << 60:
            found.append((number_, other))
    return found


def _laughing(place: Callable[[bytes], bytes]) -> bytes:
    made, last = many_times()
    return b"\x80\x02" + made + place(last)


REFUSED: dict[str, Callable[[], bytes]] = {
    # Endless to print, to hash, or to walk through.
    "a dtype of nested tuples": lambda: _laughing(
        lambda last: b"cnumpy\ndtype\n" + last + b"\x85R."
    ),
    "a key of nested tuples": lambda: torch_zip(_laughing(lambda last: b"}" + last + b"K\x01s.")),
    "a value of nested tuples": lambda: torch_zip(_laughing(lambda last: last + b".")),
    "a deep key": lambda: torch_zip(b"\x80\x02})" + b"\x85" * 400_000 + b"K\x01s."),
    "a deep value": lambda: torch_zip(b"\x80\x02)" + b"\x85" * 400_000 + b"."),
    "a list in itself": lambda: torch_zip(b"\x80\x02]q\x00h\x00a."),
    "keys of one hash": lambda: torch_zip(
        b"\x80\x02}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(50_000)) + b"u."
    ),
    "tuples of one hash as keys": lambda: torch_zip(
        b"\x80\x02}("
        + b"".join(number(a) + number(b) + b"\x86N" for a, b in tuples_of_one_hash(20_000))
        + b"u."
    ),
    "arguments copied again and again": lambda: torch_zip(
        b"\x80\x02("
        + b"N" * 100_000
        + b"tq\x00(cargparse\nNamespace\nq\x01"
        + b"h\x01h\x00R" * 50_000
        + b"t."
    ),
    "long keys that a message shows": lambda: torch_zip(
        b"\x80\x02" + text("\0" * 1_000_000) + b"q\x00}(" + b"h\x00" * 16 + b"tNs."
    ),
    "a name of megabytes": lambda: torch_zip(entry(tensor((3,), (1,)), "net." * 1_000_000 + "w")),
    "a name of megabytes in safetensors": lambda: safetensors(
        {"w" * 1_000_000: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
    "many tensors in safetensors": lambda: safetensors(
        {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(40_000)}
    ),
    "a dictionary copied again and again": lambda: torch_zip(
        b"\x80\x02]q\x00("
        + (text("k") + b"N\x86") * 1000
        + b"e(ccollections\nOrderedDict\nq\x01"
        + b"h\x01h\x00\x85R" * 2000
        + b"t."
    ),
    # More memory than they bring.
    "a bytearray of six gigabytes": lambda: torch_zip(
        entry(b"cbuiltins\nbytearray\n" + number(6 << 30) + b"\x85R")
    ),
    "a stride of nothing": lambda: torch_zip(entry(tensor((10**9,), (0,)))),
    "a huge stride of nothing": lambda: torch_zip(entry(tensor((10**12,), (0,)))),
    "many strides of nothing": lambda: torch_zip(
        b"\x80\x02}("
        + b"".join(text(f"w{i}") + tensor((10**7,), (0,)) for i in range(1000))
        + b"u."
    ),
    "compressed records": lambda: torch_zip(
        entry(tensor((1 << 20,), (1,), 1 << 20)), bytes(4 << 20), zipfile.ZIP_DEFLATED
    ),
    "records over each other": overlapping_records,
    # Tensors that no machine has.
    "three hundred sizes": lambda: torch_zip(entry(tensor((1,) * 300, (1,) * 300))),
    "a shape beyond its storage": lambda: torch_zip(entry(tensor((101,), (1,)))),
    "a negative stride": lambda: torch_zip(entry(tensor((2,), (-1,)))),
    "a storage beyond its record": lambda: torch_zip(entry(tensor((400,), (1,), 400))),
    "numbers of four bits": lambda: safetensors(
        {"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "sizes in safetensors": lambda: safetensors(
        {"w": {"dtype": "F32", "shape": [1] * 300, "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a header of many tensors": lambda: safetensors(
        {f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)}
    ),
}
"""Name -> what makes the content of a file that is refused with a WeightError, soon."""

READ: dict[str, Callable[[], bytes]] = {
    "prefixes without end": lambda: torch_zip(entry(tensor((3,), (1,)), "net." * 2000 + "w")),
    "an attribute named get": lambda: torch_zip(
        b"\x80\x02" + ORDERED + text("w") + tensor((3,), (1,)) + b"s}" + text("get") + b"K\x05sb."
    ),
}
"""The same of files that are odd, and that do no harm."""
