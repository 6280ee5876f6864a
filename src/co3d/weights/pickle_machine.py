"""Interpret a pickle without executing anything that it names.

A pickle is a program. This interpreter knows only the opcodes that make plain data, and calls only
our own constructors that its caller registers for names, so that neither a name nor a call in a
file can reach anything else.
"""

import pickletools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

MAX_STEPS = 1_000_000
"""About thirty opcodes per tensor. More would only keep the reader busy; this many take a
second."""

_MOST_LEVELS = 100
_MOST_KEY_PARTS = 16
# Each call copies its arguments, and a million calls may share the same ones.
_MOST_ARGUMENTS = 100
# Larger integers can be chosen so that all have the same hash, and a dictionary of them takes
# quadratic time.
_LARGEST_KEY = 1 << 60
_MARK = object()


class RefusedPickleError(ValueError):
    """A pickle is damaged, or holds more than plain data and numbers."""


class Constructor:
    """One of our own functions that a name in a pickle stands for."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


class Buildable:
    """A value to which a pickle may give a state (opcode BUILD)."""

    def build(self, state: Any) -> None:
        """Set the state.

        Raises:
            RefusedPickleError: it is not a state of such a value.
        """
        raise NotImplementedError


class PickleMachine:
    """The stack and the memo of a pickle, and its allowed opcodes.

    Args:
        find: the constructor for "MODULE NAME"; raises RefusedPickleError for other names.
        load: the value for a persistent id; None if there are none.
    """

    def __init__(
        self, find: Callable[[str], Any], load: Callable[[Any], Any] | None = None
    ) -> None:
        self._find, self._load = find, load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes | BinaryIO) -> Any:
        """The value of a pickle; a file is read up to the end of the pickle.

        Raises:
            RefusedPickleError: it has an opcode that makes no plain data, names something
                forbidden, or is nested too deeply or in itself.
            ValueError, LookupError, TypeError, struct.error: it is damaged.
        """
        for count, (opcode, argument, _position) in enumerate(_read_steps(content)):
            if opcode.name == "STOP":
                value = self.pop(1)[0]
                check_nesting(value)
                return value
            if count >= MAX_STEPS:
                raise RefusedPickleError(f"it takes more than {MAX_STEPS} steps")
            self.run(opcode.name, argument)
        raise RefusedPickleError("it has no end")

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
            self.stack.append(self._find(argument))
        elif name not in ("PROTO", "FRAME"):
            raise RefusedPickleError(f"it takes the step {name}")

    def pop(self, count: int) -> list[Any]:
        """Pop `count` values off the stack, oldest first."""
        if len(self.stack) < count:
            raise RefusedPickleError("it takes values that it never made")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        """Pop the values after the last mark, and the mark."""
        values = []
        while (value := self.pop(1)[0]) is not _MARK:
            values.append(value)
        return values[::-1]

    def append(self, values: list[Any]) -> None:
        """Append to the list on top of the stack."""
        if not isinstance(self.stack[-1], list):
            raise RefusedPickleError("it appends to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Set items, from alternating keys and values, of the dictionary on top of the stack."""
        keys = values[::2]
        if not isinstance(self.stack[-1], dict) or not all(map(is_plain_key, keys)):
            raise RefusedPickleError("it sets items of no dictionary, or under keys of no name")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def memoize(self) -> None:
        """Store the value on top of the stack in the memo under the next number."""
        self.memo[len(self.memo)] = self.stack[-1]

    def find_global(self) -> None:
        """Replace a module and a name by what they stand for."""
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedPickleError("it names something without a name")
        self.stack.append(self._find(f"{module} {name}"))

    def load(self) -> None:
        """Replace a persistent id by what it stands for."""
        if self._load is None:
            raise RefusedPickleError("it refers to what is outside of it")
        self.stack.append(self._load(self.pop(1)[0]))

    def call(self) -> None:
        """Call one of our own constructors."""
        constructor, arguments = self.pop(2)
        if not isinstance(constructor, Constructor) or not isinstance(arguments, tuple):
            raise RefusedPickleError("it calls what is no constructor of plain data")
        if len(arguments) > _MOST_ARGUMENTS:
            raise RefusedPickleError(f"it calls a constructor with {len(arguments)} arguments")
        self.stack.append(constructor.make(*arguments))

    def build(self) -> None:
        """Set a value's state; attributes of dictionaries are ignored."""
        value, state = self.pop(2)
        if isinstance(value, Buildable):
            value.build(state)
        elif not isinstance(value, dict):
            raise RefusedPickleError("it gives a state to what has none")
        self.stack.append(value)


def is_plain_key(key: Any) -> bool:
    """Whether a value may be a key: hashing a deep tuple can exhaust the C stack, or take for ever.

    Text, bytes, numbers, None and short tuples of text and bytes are allowed. Tuples of numbers are
    not, because numbers can be chosen so that all have the same hash.
    """
    if isinstance(key, tuple):
        return len(key) <= _MOST_KEY_PARTS and all(isinstance(part, str | bytes) for part in key)
    if isinstance(key, int):
        return abs(key) < _LARGEST_KEY
    return key is None or isinstance(key, str | bytes | float)


def check_nesting(value: Any) -> None:
    """Refuse a value that would take for ever to traverse.

    A part that occurs in several places counts in each: forty nested tuples, each holding the
    previous one four times, are small in a file, but endless when traversed.

    Raises:
            RefusedPickleError: it is nested more than a hundred levels deep or in itself, or has
                more than MAX_STEPS parts.
    """
    sizes: dict[int, tuple[int, int]] = {}  # id of a container -> levels, parts
    above: set[int] = set()
    waiting = [value]
    while waiting:
        top = waiting[-1]
        if id(top) in sizes:
            waiting.pop()
            continue
        inner = [part for part in _list_parts(top) if isinstance(part, dict | list | tuple)]
        if id(top) not in above:
            above.add(id(top))
            if any(id(part) in above for part in inner) or len(above) > _MOST_LEVELS:
                raise RefusedPickleError(f"it is nested in itself, or over {_MOST_LEVELS} deep")
            waiting += [part for part in inner if id(part) not in sizes]
        else:
            above.remove(id(top))
            waiting.pop()
            found = [sizes[id(part)] for part in inner]
            levels = 1 + max((level for level, _ in found), default=0)
            parts = 1 + len(_list_parts(top)) + sum(count for _, count in found)
            if levels > _MOST_LEVELS or parts > MAX_STEPS:
                raise RefusedPickleError(
                    f"it is nested over {_MOST_LEVELS} deep, or has more than {MAX_STEPS} parts"
                )
            sizes[id(top)] = levels, parts


def _list_parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _read_steps(
    content: bytes | BinaryIO,
) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """The opcodes of a pickle, without Python's warnings about escapes in foreign text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield from pickletools.genops(content)


_ARGUMENT_STEPS = {  # they push their argument on the stack
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_STEPS: dict[str, Callable[[PickleMachine], None]] = {
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
    "MEMOIZE": PickleMachine.memoize,
    "STACK_GLOBAL": PickleMachine.find_global,
    "BINPERSID": PickleMachine.load,
    "REDUCE": PickleMachine.call,
    "NEWOBJ": PickleMachine.call,
    "BUILD": PickleMachine.build,
}
