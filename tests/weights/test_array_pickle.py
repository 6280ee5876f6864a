"""Pickles of arrays: every way that they are written, and that nothing in a hostile one runs."""

import collections
import contextlib
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.errors import WeightError
from co3d.weights import read_checkpoint
from co3d.weights.array_pickle import read_array_pickle
from co3d.weights.pickle_machine import MAX_STEPS, RefusedPickleError

ARRAYS = {
    "conv1_w": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "columns_first": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">f4"),
    "half": np.ones(2, dtype=np.float16),
    "model_iter": np.array(7),
    "scalar": np.float32(1.5),
    "empty": np.zeros((0, 3), dtype=np.float32),
}


def assert_arrays(got: Any, expected: dict[str, Any] = ARRAYS) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert torch.equal(
            got[name], torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
        )


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("mapping", [dict, collections.OrderedDict])
@pytest.mark.parametrize("wrapped", [True, False])
def test_every_pickle_protocol_is_read(
    tmp_path: Path, protocol: int, mapping: type, wrapped: bool
) -> None:
    path = tmp_path / "I3D_8x8_R50.pkl"
    content = mapping(ARRAYS)
    if wrapped:
        content = {"blobs": content, "cfg": "MODEL: {}", "n": (1, 2.5, None, True, [b"x", 1 << 70])}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert_arrays(read_checkpoint(path).tensors)


def python2_pickle(blobs: dict[str, np.ndarray]) -> bytes:
    """What cPickle of Python 2 writes for {"blobs": …} in protocol 2: text and bytes are alike."""

    def text(value: bytes) -> bytes:
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    parts = [b"\x80\x02}q\x01", text(b"blobs"), b"}q\x02("]
    for name, array in blobs.items():
        parts += [text(name.encode()), b"cnumpy.core.multiarray\n_reconstruct\n"]
        parts += [b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("]
        parts += [b"M" + struct.pack("<H", size) for size in array.shape]
        parts += [b"tcnumpy\ndtype\n", text(array.dtype.str[1:].encode()), b"K\x00K\x01\x87R"]
        parts += [b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"]
        parts += [text(array.tobytes()), b"tb"]
    return b"".join([*parts, b"us."])


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    blobs = {
        "conv1_w": np.random.default_rng(0).standard_normal((4, 3, 5), dtype=np.float32),
        "pred_b": np.arange(70, dtype=np.float32),
    }
    content = python2_pickle(blobs)
    loaded = pickle.loads(content, encoding="latin1")["blobs"]
    assert all(np.array_equal(loaded[name], blobs[name]) for name in blobs)  # the writer is right
    path = tmp_path / "I3D_8x8_R50.pkl"
    path.write_bytes(content)
    assert_arrays(read_checkpoint(path).tensors, blobs)


def test_an_array_shared_by_two_names_is_read() -> None:
    array = np.ones(1000, dtype=np.float32)
    got: Any = read_array_pickle(pickle.dumps({"a": array, "b": array}, protocol=2))
    assert torch.equal(got["a"], got["b"])


class Call:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrapped", [True, False])
def test_calls_in_a_pickle_never_run(tmp_path: Path, protocol: int, wrapped: bool) -> None:
    path, mark = tmp_path / "file.pkl", tmp_path / "ran"
    attack = {"conv1_w": Call(os.system, f"touch '{mark}'")}
    path.write_bytes(pickle.dumps({"blobs": attack} if wrapped else attack, protocol=protocol))
    with pytest.raises(WeightError, match=r"never run .*names posix"):
        read_checkpoint(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # the attack itself works, so the test could fail


@pytest.mark.parametrize(
    "stranger",
    [
        Call(eval, "1"),
        Call(getattr, [], "append"),
        Call(np.load, "file.npy"),
        Call(np.dtype, "O"),
        Call(np.dtype, "f4, f4"),
        np.array([{}], dtype=object),
        np.array(["text"]),
        np.zeros(1, dtype=[("a", "f4")]),
        {1, 2},
        complex(1, 2),
        slice(1),
        torch.zeros(1),
        torch.nn.Linear(1, 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_but_plain_arrays_is_refused(tmp_path: Path, stranger: object) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": stranger}}, protocol=2))
    with pytest.raises(WeightError, match="never run"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02.",  # nothing made
        b"\x80\x02}",  # no end
        b"\x80\x02}K\x01K\x02s",  # no end
        b"\x80\x02}(K\x01K\x02K\x03u.",  # a key without a value
        b"\x80\x02}((K\x01tK\x02u.",  # a tuple as key
        b"\x80\x02K\x01K\x02a.",  # append to a number
        b"\x80\x02K\x01K\x02K\x03s.",  # an item of a number
        b"\x80\x02h\x05.",  # an unknown memo
        b"\x80\x02r\xff\xff\xff\xff.",  # remember nothing, at a huge index
        b"\x80\x02K\x01)R.",  # call a number
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"\x80\x02cnumpy\nndarray\n}b.",
        b"\x80\x02cposix\nsystem\n.",
        b"\x80\x02U\x05posixU\x06system\x93.",
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x02P1\n.",  # a persistent id
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a long text that is not there
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",  # a longer one
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x02NNNtb.",  # odd shape
        b"\x80\x02(" * 10 + b"t.",
    ],
)
def test_broken_pickle_programs_are_refused(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(program.ljust(40, b"\x00"))
    with pytest.raises(WeightError, match="cannot read weights"):
        read_checkpoint(path)


def dump_array(shape: tuple[int, ...], data: bytes) -> bytes:
    """An array that claims a shape."""
    array = np.zeros(len(data) // 4, dtype=np.float32)
    content = pickle.dumps({"a": array}, protocol=3)
    (size,) = array.shape
    old, new = pickle.dumps((size,), 3)[2:-1], pickle.dumps(shape, 3)[2:-1]
    return content.replace(old[: old.index(b"\x85")], new[: new.index(b"\x85")], 1)


@pytest.mark.parametrize("claim", [3, 5, 1 << 40])
def test_an_array_with_a_wrong_shape_is_refused(tmp_path: Path, claim: int) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(dump_array((claim,), bytes(16)))
    with pytest.raises(WeightError, match=r"bytes cannot be|arrays claim"):
        read_checkpoint(path)


def test_arrays_that_share_bytes_are_counted_each_time(tmp_path: Path) -> None:
    data = "x" * 100_000
    # The text is the value of an item 0, from where it goes into the memo.
    head = b"\x80\x02}(K\x00X" + struct.pack("<I", len(data)) + data.encode() + b"q\x01"
    array = (
        b"cnumpy.core.numeric\n_frombuffer\n(h\x01cnumpy\ndtype\n(U\x02u1tR"
        b"J" + struct.pack("<i", len(data)) + b"\x85U\x01CtR"
    )
    items = b"".join(b"U\x03%03d" % i + array for i in range(1, 100))
    path = tmp_path / "file.pkl"
    path.write_bytes(head + items + b"u.")
    with pytest.raises(WeightError, match="arrays claim 9900000 bytes"):
        read_checkpoint(path)


def test_deep_nesting_ends_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(b"\x80\x02)" + b"\x85" * 200_000 + b".")
    with pytest.raises(WeightError, match="nested in itself, or over 100 deep"):
        read_checkpoint(path)
    path.write_bytes(b"\x80\x02" + b"]" * (MAX_STEPS + 1) + b".")
    with pytest.raises(WeightError, match="more than 1000000 steps"):
        read_checkpoint(path)


def test_odd_escapes_in_text_raise_no_warning() -> None:
    # The tests turn warnings into errors.
    with pytest.raises(RefusedPickleError, match="it takes the step POP"):
        read_array_pickle(b"S'\\u'\n0")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_a_value_or_a_typed_error(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    protocol = data.draw(st.sampled_from([2, 5]))
    pickle.dump({"blobs": {"a": np.ones(3, dtype=np.float32), "b": 1.5}}, buffer, protocol)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, LookupError, TypeError, struct.error, OverflowError):
        read_array_pickle(bytes(content))
