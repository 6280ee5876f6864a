"""Checks an untrusted OpenVINO model: the sizes of values, and arguments of layers."""

import math
from typing import Any

from co3d.errors import ExportedFileError
from co3d.export.budget import limit_values
from co3d.export.openvino_arguments import find_fault
from co3d.export.peak_memory import PeakMemory

_MOST_RANK = 8


def check_model(model: Any, origin: str, most_bytes: int) -> None:
    """Check that a model's values have known and limited sizes, and that arguments are safe.

    Args:
        model: the model as OpenVINO has read it, which has computed shapes only.
        origin: the file, for messages.
        most_bytes: the limit for any value, and for all values that are alive at the same time.

    Raises:
        ExportedFileError: a check fails; the message names the value or the layer.
    """
    layers = model.get_ordered_ops()
    sizes = [_measure(layer, origin) for layer in layers]
    given = [layer.get_type_name() in ("Constant", "Parameter") for layer in layers]
    brought = sum(sum(size) for size, is_given in zip(sizes, given, strict=True) if is_given)
    limit = limit_values(brought, most_bytes)
    alive = PeakMemory()
    for layer, size, is_given in zip(layers, sizes, given, strict=True):
        if max(size, default=0) > limit:
            raise ExportedFileError(
                f"cannot run {origin}: its value {layer.get_friendly_name()[:100]!r} takes "
                f"{max(size)} bytes, expected at most {limit}; if you trust it, "
                "load_program(path, most_bytes=…) allows more"
            )
        inputs = [layer.input_value(i).get_node() for i in range(layer.get_input_size())]
        alive.step(layer.get_name(), 0 if is_given else sum(size), [i.get_name() for i in inputs])
    alive.check(origin, most_bytes)
    for layer in layers:
        if fault := find_fault(layer):
            raise ExportedFileError(
                f"cannot run {origin}: its {layer.get_type_name()} has {fault}; if you trust it, "
                "load_program(path, most_bytes=None) runs it unseen"
            )


def _measure(layer: Any, origin: str) -> list[int]:
    """The bytes of each output of a layer."""
    sizes = []
    for output in layer.outputs():
        shape, name = output.get_partial_shape(), layer.get_friendly_name()[:100]
        if shape.is_dynamic:
            raise ExportedFileError(
                f"cannot run {origin}: its value {name!r} may be of any size; export the network "
                "again"
            )
        plain = tuple(shape.to_shape())
        if 0 in plain or len(plain) > _MOST_RANK:
            raise ExportedFileError(
                f"cannot run {origin}: its value {name!r} has the shape {str(plain)[:100]}, "
                f"expected up to {_MOST_RANK} sizes over 0; export the network again"
            )
        sizes.append(math.prod(plain) * max(1, output.get_element_type().size))
    return sizes
