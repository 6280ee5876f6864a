"""Read a pickle of numpy arrays without running anything that it names.

Caffe2 checkpoints are such pickles, written by Python 2. A pickle is a program; this reader follows
its steps itself and knows only those that make plain data and arrays, so that neither a name nor a
call in the file can reach anything else.
"""

import pickletools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from co3d.weights.pickled_arrays import (
    Constructor,
    PickledArray,
    PickledDtype,
    RefusedPickleError,
    find_constructor,
)

MAX_STEPS = 250_000  # some thirty an array; a guard against files that only keep us busy
_NESTING = 2  # the mapping of names to arrays stands at the top or one level below
_MARK = object()


def read_array_pickle(content: bytes) -> object:
    """The value in a pickle: numbers, text, bytes, lists, tuples, dictionaries and tensors.

    Bytes of Python 2 are read as Latin-1 text. Any protocol will do.

    Raises:
        RefusedPickleError: it names anything but numpy's array constructors, or an array does not
            add up.
        ValueError, LookupError, TypeError, struct.error: it is damaged.
    """
    machine = _Machine()
    for count, (opcode, argument, _position) in enumerate(_read_steps(content)):
        if opcode.name == "STOP":
            return _finish(machine.pop(1)[0], max_bytes=len(content))
        if count >= MAX_STEPS:
            raise RefusedPickleError(f"it takes more than {MAX_STEPS} steps")
        machine.run(opcode.name, argument)
    raise RefusedPickleError("it has no end")


def _read_steps(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """The steps of a pickle, without Python's warnings about escapes in other people's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield from pickletools.genops(content)


class _Machine:
    """The stack and the memo of a pickle, and the steps that it may take."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Take one step."""
        if name in _ARGUMENT_STEPS:
            self.stack.append(argument)
        elif name in _STEPS:
            _STEPS[name](self)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(find_constructor(argument))
        elif name not in ("PROTO", "FRAME"):
            raise RefusedPickleError(f"it takes the step {name}")

    def pop(self, count: int) -> list[Any]:
        """Take `count` values off the stack, oldest first."""
        if len(self.stack) < count:
            raise RefusedPickleError("it takes values that it never made")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        """Take the values after the last mark, and the mark."""
        values = []
        while (value := self.pop(1)[0]) is not _MARK:
            values.append(value)
        return values[::-1]

    def append(self, values: list[Any]) -> None:
        """Append to the list on top."""
        if not isinstance(self.stack[-1], list):
            raise RefusedPickleError("it appends to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Set items, keys and values in turn, of the dictionary on top."""
        keys = values[::2]
        # A number or text is harmless as a key; to hash a deep tuple can exhaust the C stack.
        if not isinstance(self.stack[-1], dict) or not all(isinstance(k, str | int) for k in keys):
            raise RefusedPickleError("it sets items of no dictionary, or under keys of no name")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def memoize(self) -> None:
        """Remember the value on top under the next number."""
        self.memo[len(self.memo)] = self.stack[-1]

    def find_global(self) -> None:
        """Replace a module and a name by what they stand for."""
        module, name = self.pop(2)
        self.stack.append(find_constructor(f"{module} {name}"))

    def call(self) -> None:
        """Call one of our own constructors."""
        constructor, arguments = self.pop(2)
        if not isinstance(constructor, Constructor) or not isinstance(arguments, tuple):
            raise RefusedPickleError("it calls what is no array constructor")
        self.stack.append(constructor.make(*arguments))

    def build(self) -> None:
        """Give an array or a dtype its state."""
        value, state = self.pop(2)
        if not isinstance(value, PickledArray | PickledDtype) or not isinstance(state, tuple):
            raise RefusedPickleError("it gives a state to what is no array")
        value.set_state(*state)
        self.stack.append(value)


_ARGUMENT_STEPS = {  # they put their argument on the stack
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_STEPS: dict[str, Callable[[_Machine], None]] = {
    "NONE": lambda m: m.stack.append(None),
    "NEWTRUE": lambda m: m.stack.append(True),
    "NEWFALSE": lambda m: m.stack.append(False),
    "MARK": lambda m: m.stack.append(_MARK),
    "EMPTY_DICT": lambda m: m.stack.append({}),
    "EMPTY_LIST": lambda m: m.stack.append([]),
    "EMPTY_TUPLE": lambda m: m.stack.append(()),
    "TUPLE": lambda m: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m: m.stack.append(tuple(m.pop(1))),
    "TUPLE2": lambda m: m.stack.append(tuple(m.pop(2))),
    "TUPLE3": lambda m: m.stack.append(tuple(m.pop(3))),
    "APPEND": lambda m: m.append(m.pop(1)),
    "APPENDS": lambda m: m.append(m.pop_to_mark()),
    "SETITEM": lambda m: m.set_items(m.pop(2)),
    "SETITEMS": lambda m: m.set_items(m.pop_to_mark()),
    "MEMOIZE": _Machine.memoize,
    "STACK_GLOBAL": _Machine.find_global,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}


def _finish(value: object, max_bytes: int) -> object:
    """Turn the arrays of a dictionary, and of dictionaries in it, into tensors.

    A file can name the same bytes again and again; those of all arrays must fit in it.
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
