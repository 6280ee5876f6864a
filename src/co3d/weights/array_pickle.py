"""Read a pickle of numpy arrays without executing anything that it names.

Caffe2 checkpoints are such pickles, written by Python 2.
"""

from collections.abc import Iterator

from torch import Tensor

from co3d.weights.pickle_machine import PickleMachine, RefusedPickleError
from co3d.weights.pickled_arrays import PickledArray, find_constructor

_NESTING = 2  # the mapping of names to arrays is at the top or one level below


def read_array_pickle(content: bytes) -> object:
    """The value in a pickle: numbers, text, bytes, lists, tuples, dictionaries and tensors.

    Bytes of Python 2 are read as Latin-1 text. All pickle protocols are supported.

    Raises:
        RefusedPickleError: it names anything but numpy's array constructors, or an array's size and
            shape disagree.
        ValueError, LookupError, TypeError, struct.error: it is damaged.
    """
    return _finish(PickleMachine(find_constructor).read(content), max_bytes=len(content))


def _finish(value: object, max_bytes: int) -> object:
    """Turn the arrays of a dictionary, and of dictionaries in it, into tensors.

    A file can refer to the same bytes repeatedly; the arrays together must not exceed the file.
    """
    arrays = {id(array): array for array in _find_arrays(value)}
    size_bytes = sum(array.size_bytes for array in arrays.values())
    if size_bytes > max_bytes:
        raise RefusedPickleError(f"its arrays claim {size_bytes} bytes, it has {max_bytes}")
    return _replace(value, {key: array.tensor() for key, array in arrays.items()})


def _find_arrays(value: object, depth: int = 0) -> Iterator[PickledArray]:
    if isinstance(value, PickledArray):
        yield value
    elif isinstance(value, dict) and depth < _NESTING:
        for item in value.values():
            yield from _find_arrays(item, depth + 1)


def _replace(value: object, tensors: dict[int, Tensor], depth: int = 0) -> object:
    if isinstance(value, dict) and depth < _NESTING:
        return {key: _replace(item, tensors, depth + 1) for key, item in value.items()}
    return tensors.get(id(value), value)
