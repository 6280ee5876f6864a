"""Sizes that an OpenVINO model computes from known shapes become constants, and nothing else."""

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from co3d.backends.openvino_cpu import open_core
from co3d.export.openvino_folding import fold_sizes


def make_model(shape: list[int]) -> openvino.Model:
    """A bias (4) reshaped to the channels of a map, by sizes that layers compute."""
    frame = ops.parameter(shape, np.float32, name="frame")
    bias = ops.multiply(
        ops.convert(ops.constant(np.arange(4, dtype=np.int8)), np.float32),
        ops.constant(np.float32(0.5)),
    )
    rank = ops.shape_of(ops.shape_of(frame))
    ones = ops.broadcast(ops.constant([1]), ops.subtract(rank, ops.constant([2])))
    sizes = ops.concat([ops.constant([1]), ops.constant([4]), ones], 0)
    return openvino.Model([ops.add(frame, ops.reshape(bias, sizes, False))], [frame])


def list_kinds(model: openvino.Model) -> list[str]:
    return [layer.get_type_name() for layer in model.get_ordered_ops()]


def test_sizes_become_constants_and_weights_are_not_changed():
    model = make_model([1, 4, 2, 2])
    frame = np.random.default_rng(0).random((1, 4, 2, 2), np.float32)
    core = open_core()
    run = core.compile_model(model, "CPU")
    fold_sizes(openvino, model)
    kinds = list_kinds(model)
    assert {"Reshape", "Convert", "Multiply", "Add"} <= set(kinds)
    assert {"ShapeOf", "Broadcast", "Subtract", "Concat"}.isdisjoint(kinds)
    folded = core.compile_model(model, "CPU")
    np.testing.assert_array_equal(folded(frame)[0], run(frame)[0])


@pytest.mark.parametrize("shape", [[-1, 4, 2, 2], [1, 4, -1, -1]])
def test_unknown_shapes_are_not_folded(shape):
    frame = ops.parameter(shape, np.float32, name="frame")
    model = openvino.Model([ops.shape_of(frame)], [frame])
    fold_sizes(openvino, model)
    assert list_kinds(model) == ["Parameter", "ShapeOf", "Result"]
