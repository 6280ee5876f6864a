"""Checkpoints of TensorFlow: MoViNet's variables as the Model Garden names them, and damaged files.

No published file is at hand: the files are written here after the documents of their formats.
"""

from contextlib import suppress

import numpy as np
import pytest
import torch

from co3d.errors import WeightError
from co3d.models.movinet import MoViNet
from co3d.models.movinet_sizes import Size, Stage
from co3d.weights import load_weights
from co3d.weights.containers import find_container, read_container
from co3d.weights.crc32c import crc32c
from support import tensorflow_files as tf

LAYERS = {
    "expand": "expansion",
    "depthwise": "feature",
    "project": "projection",
    "gate": "se",
    "shortcut": "skip/skip_project",
}
NORMS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
NUMBERS = {"expand": "", "project": "_3", "shortcut": "_4", "reduce": "_1", "restore": "_2"}


@pytest.fixture(params=[False, True], ids=["base", "stream"])
def network(request):
    stages = (Stage(8, 2, (16,), ((1, 5),)), Stage(16, 2, (24, 32), ((3, 3), (5, 3))))
    size = Size(stem=8, stages=stages, last=24, clip_frames=4, rate_hz=5.0, crop_px=32)
    model = MoViNet(size, request.param, num_classes=7).eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model


def name_variable(name, causal):
    """The variable that holds one of our tensors, and how its sizes are ordered."""
    parts = name.split(".")
    if parts[0] == "stages":
        stage, index, layer, *rest = parts[1:]
        place = f"b{stage}/l{index}/"
        if layer == "alpha":
            return f"{place}scale", None
        place += ("" if layer == "shortcut" else "bneck/") + LAYERS[layer]
    else:
        layer, *rest = parts
        place = {"stem": "stem/stem", "last": "head/project", "head": "classifier_head"}[layer]
    temporal = ""
    if layer == "depthwise" and causal:
        temporal = "_temporal" if rest[0].startswith("temporal") else ""
        rest = rest[1:] if rest[0] == "spatial" else [rest[0].removeprefix("temporal_"), rest[1]]
        rest[0] = "conv" if rest[0] == "temporal" else rest[0]
    if rest[0] == "norm":
        return f"{place}/bn{temporal}/{NORMS[rest[1]]}", None
    if layer in ("gate", "head"):
        inner = {"reduce": "se_reduce", "restore": "se_expand", "hidden": "head"}
        place += "/" + inner.get(rest[0], rest[0])
    if not causal:
        conv = "conv3d/"
    elif layer == "depthwise":
        conv = f"conv2d{temporal}/depthwise_conv2d{'_1' if temporal else ''}/depthwise_"
    else:
        conv = f"conv2d/conv2d{NUMBERS.get(rest[0], NUMBERS.get(layer, ''))}/"
    if rest[-1] == "bias":
        return f"{place}/{conv.removesuffix('depthwise_')}bias", None
    return f"{place}/{conv}kernel", "depthwise" if conv.endswith("depthwise_") else "kernel"


def to_variable(tensor, kind, causal):
    """Our tensor in TensorFlow's order of sizes."""
    array = tensor.numpy()
    if kind is None:
        return array
    array = array.reshape(*array.shape, *[1] * (5 - array.ndim))  # (out, in, T, H, W)
    if not causal:
        return np.ascontiguousarray(array.transpose(2, 3, 4, 1, 0))
    time, height, width = array.shape[2:]
    flat = array.reshape(
        *array.shape[:2], *((time, height * width) if time > 1 else (height, width))
    )
    order = (2, 3, 0, 1) if kind == "depthwise" else (2, 3, 1, 0)
    return np.ascontiguousarray(flat.transpose(order))


def write(path, model, **options):
    arrays, names = {}, {}
    for place, (name, tensor) in enumerate(model.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        variable, kind = name_variable(name, model.causal)
        key = f"model/layer_with_weights-{place}/.ATTRIBUTES/VARIABLE_VALUE"
        arrays[key], names[key] = to_variable(tensor, kind, model.causal), variable
        slot = f"model/x-{place}/.OPTIMIZER_SLOT/optimizer/rms/.ATTRIBUTES/VARIABLE_VALUE"
        arrays[slot] = np.zeros(2, np.float32)
    arrays["save_counter/.ATTRIBUTES/VARIABLE_VALUE"] = np.array(1, np.int64)
    return tf.write_checkpoint(path / "ckpt-1", arrays, names, **options)


def test_movinet_is_read_from_its_variables(tmp_path, network):
    path = write(tmp_path, network)
    assert find_container(path) == "tensorflow"
    expected = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    for parameter in network.state_dict().values():
        parameter.zero_()
    load_weights(network, path)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[key]) or key.endswith("num_batches_tracked"), key


def small(path, **options):
    arrays = {"a/.ATTRIBUTES/VARIABLE_VALUE": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return tf.write_checkpoint(path / "ckpt", arrays, {}, **options)


def test_unnamed_variables_are_identified_by_their_key(tmp_path):
    ((key, tensor),) = read_container(small(tmp_path)).tensors.items()
    assert key == "a"
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_every_changed_byte_is_detected_or_irrelevant(tmp_path, suffix):
    index = small(tmp_path)
    expected = read_container(index).tensors["a"]
    path = tmp_path / f"ckpt{suffix}"
    content = path.read_bytes()
    unseen = 0
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        with suppress(WeightError):
            assert torch.equal(read_container(index).tensors["a"], expected)
            unseen += 1
    # The metaindex is not read, and the footer is filled up with zeros.
    assert unseen < (20 if suffix == ".index" else 1)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    index = small(tmp_path)
    path = tmp_path / f"ckpt{suffix}"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(WeightError, match="cannot read weights"):
            read_container(index)
    path.unlink()
    with pytest.raises(WeightError, match="cannot read weights"):
        read_container(index)


def entry(dtype=1, sizes=(6,), shard=0, offset=0, size=24, tail=b""):
    shape = b"".join(tf.text(2, tf.number(1, one)) for one in sizes)
    numbers = tf.number(3, shard) + tf.number(4, offset) + tf.number(5, size)
    return tf.number(1, dtype) + tf.text(2, shape) + numbers + tail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b": entry(sizes=(1 << 39, 1 << 39))}, "in 24 bytes"),
        ({"b": entry(sizes=(1 << 50,))}, "a negative one"),
        ({"b": entry(offset=1 << 40)}, "beyond the data file"),
        ({f"b{i}": entry() for i in range(9)}, "checksum|overlap"),
        ({"b": entry(shard=1)}, "the data file 1 of 1"),
        ({"b": entry(dtype=20)}, "the type 20"),
        ({"b": entry(tail=tf.text(7, b""))}, "in slices"),
        ({"b": b"\x0b"}, "a field of the kind 3"),
        ({"b": b"\x08" + b"\xff" * 10}, "more than 64 bits"),
        ({"b": tf.text(1, b"x")}, "bytes where a number"),
    ],
)
def test_an_index_of_absent_data_is_refused(tmp_path, changes, said):
    with pytest.raises(WeightError, match=said):
        read_container(small(tmp_path, **changes))


def test_compressed_blocks_are_refused(tmp_path):
    with pytest.raises(WeightError, match="compressed"):
        read_container(small(tmp_path, kind=1))


def test_checksums_match_the_standard_s_examples():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4 has this and the next
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    noise = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8)
    assert crc32c(noise) == tf.checksum(noise.tolist())
    assert crc32c(noise[999:], crc32c(noise[:999])) == crc32c(noise)
