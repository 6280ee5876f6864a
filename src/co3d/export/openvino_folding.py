"""Folds shapes that an OpenVINO model computes to constants.

OpenVINO converts quantised convolutions from ONNX to layers that compute the shapes of biases. A
file with such layers would be refused when it is read, because computed shapes may be of any size.
"""

from typing import Any

import numpy as np


def fold_sizes(openvino: Any, model: Any) -> None:
    """Replace int64 values that depend on known shapes and constants alone, in place."""
    whole = openvino.Type.i64
    for layer in model.get_ordered_ops():
        if layer.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        if layer.get_output_size() != 1 or layer.get_output_element_type(0) != whole:
            continue
        sources = [layer.input_value(i) for i in range(layer.get_input_size())]
        if layer.get_type_name() == "ShapeOf":
            if sources[0].get_partial_shape().is_dynamic:
                continue
            numbers = np.array(sources[0].get_shape(), np.int64)
        else:
            nodes = [source.get_node() for source in sources]
            if any(node.get_type_name() != "Constant" for node in nodes):
                continue
            made = openvino.Tensor(whole, layer.get_output_shape(0))
            if not layer.evaluate([made], [openvino.Tensor(node.data.copy()) for node in nodes]):
                continue
            numbers = made.data.copy()
        constant = openvino.opset13.constant(numbers, whole)
        for reader in layer.output(0).get_target_inputs():
            reader.replace_source_output(constant.output(0))
