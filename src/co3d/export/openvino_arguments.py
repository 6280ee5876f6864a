"""Checks arguments of layers in an OpenVINO model that OpenVINO does not check.

OpenVINO crashes if an integer is divided by 0 or the least integer by -1, or if an axis, an index
or a number of results is out of range, which only some layers check.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def find_fault(layer: Any) -> str | None:
    """Describe an unsafe argument of a layer; None if all are safe.

    Args:
        layer: a layer of a model whose shapes are all known.
    """
    check = _CHECKS.get(layer.get_type_name())
    return check(layer) if check else None


def _check_division(layer: Any) -> str | None:
    is_float = layer.get_output_element_type(0).is_real()
    return None if is_float else "integers that it divides"


def _check_axes(place: int) -> Callable[[Any], str | None]:
    """Make a check that the input at `place` holds axes of the first input."""

    def check(layer: Any) -> str | None:
        rank = len(layer.get_input_shape(0))
        return _check_within(_read_constant(layer, place), rank, "axes")

    return check


def _check_places(layer: Any, axis_place: int | None = None) -> str | None:
    """Check indices into the first input, along an axis given by another input or an attribute."""
    shape = layer.get_input_shape(0)
    axis = layer.get_attributes().get("axis", 0)
    if axis_place is not None:
        axes = _read_constant(layer, axis_place)
        if axes is None or _check_within(axes, len(shape), "axes"):
            return "an axis that its value does not have"
        axis = axes.item()
    return _check_within(_read_constant(layer, 1), shape[axis], "indices")


def _check_counts(layer: Any) -> str | None:
    """Check that TopK returns no more values than there are."""
    made, given = layer.get_output_shape(0), layer.get_input_shape(0)
    return None if _fits_in(made, given) else "more results than values"


def _check_mapping(layer: Any) -> str | None:
    """Check the axes of a broadcast, if they are given."""
    if layer.get_input_size() < 3:
        return None
    return _check_within(_read_constant(layer, 2), len(layer.get_output_shape(0)), "axes")


def _check_within(numbers: np.ndarray | None, limit: int, what: str) -> str | None:
    if numbers is None:
        return f"{what} that it computes"
    # Python's integers, because negating NumPy's least integer overflows.
    is_within = all(-limit <= number < limit for number in numbers.flatten().tolist())
    return None if is_within else f"{what} that lead beyond its values"


def _fits_in(made: Sequence[int], given: Sequence[int]) -> bool:
    return len(made) == len(given) and all(m <= g for m, g in zip(made, given, strict=True))


def _read_constant(layer: Any, place: int) -> np.ndarray | None:
    """The content of a constant input; None for inputs that are computed."""
    source = layer.input_value(place).get_node()
    return source.data if source.get_type_name() == "Constant" else None


_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(("Divide", "FloorMod", "Mod"), _check_division),
    **dict.fromkeys(("CumSum", "LRN", "MVN", "NormalizeL2"), _check_axes(1)),
    **dict.fromkeys(("Split", "VariadicSplit"), _check_axes(1)),
    "GatherElements": _check_places,
    **dict.fromkeys(
        ("ScatterElementsUpdate", "ScatterUpdate"), lambda layer: _check_places(layer, 3)
    ),
    "Broadcast": _check_mapping,
    "TopK": _check_counts,
}
