"""Follow the steps of a pickle without running anything that it names.

A pickle is a program. This machine knows only the steps that make plain data, and calls nothing but
the constructors of our own that its user gives it for names, so that neither a name nor a call in a
file can reach anything else.
"""

import pickletools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

MAX_STEPS = 1_000_000
"""Some thirty a tensor. Files with more only keep the reader busy; a second's work."""

_MOST_LEVELS = 100
_MOST_KEY_PARTS = 16
# Each call copies its arguments, and a million calls may take the same ones.
_MOST_ARGUMENTS = 100
# Larger integers can be chosen so that all of them have the same hash, and a dictionary of them
# takes time in the square of their number.
_LARGEST_KEY = 1 << 60
_MARK = object()


class RefusedPickleError(ValueError):
    """A pickle holds more than plain data and numbers, or is damaged."""


class Constructor:
    """What a name in a pickle stands for: one of our own functions."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


class Buildable:
    """A value that a pickle may give a state after it has been made."""

    def build(self, state: Any) -> None:
        """Take the state.

        Raises:
            RefusedPickleError: it is no state of such a value.
        """
        raise NotImplementedError


class PickleMachine:
    """The stack and the memo of a pickle, and the steps that it may take.

    Args:
        find: what "MODULE NAME" stands for; RefusedPickleError where that is nothing.
        load: what a persistent id stands for; None where there are none.
    """

    def __init__(
        self, find: Callable[[str], Any], load: Callable[[Any], Any] | None = None
    ) -> None:
        self._find, self._load = find, load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes | BinaryIO) -> Any:
        """The value of a pickle; a file is then read up to the end of the pickle.

        Raises:
            RefusedPickleError: it takes a step that makes no plain data, names what it must not,
                or is nested too deep or in itself.
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
        if not isinstance(self.stack[-1], dict) or not all(map(is_plain_key, keys)):
            raise RefusedPickleError("it sets items of no dictionary, or under keys of no name")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def memoize(self) -> None:
        """Remember the value on top under the next number."""
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
        """Give a value its state; a dictionary's own attributes are left out."""
        value, state = self.pop(2)
        if isinstance(value, Buildable):
            value.build(state)
        elif not isinstance(value, dict):
            raise RefusedPickleError("it gives a state to what has none")
        self.stack.append(value)


def is_plain_key(key: Any) -> bool:
    """Whether a value may be a key: to hash a deep tuple can exhaust the C stack, or take for ever.

    Text, bytes, numbers and None may, and short tuples of text and bytes: those of numbers can be
    chosen so that all have the same hash.
    """
    if isinstance(key, tuple):
        return len(key) <= _MOST_KEY_PARTS and all(isinstance(part, str | bytes) for part in key)
    if isinstance(key, int):
        return abs(key) < _LARGEST_KEY
    return key is None or isinstance(key, str | bytes | float)


def check_nesting(value: Any) -> None:
    """Refuse a value that would keep whoever walks through it busy for ever.

    A part that stands in several places is counted in each: forty tuples of four times the one
    before are small in a file, and never end when they are walked through.

    Raises:
        RefusedPickleError: it is nested more than a hundred deep or in itself, or has more than
            MAX_STEPS parts.
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
    """The steps of a pickle, without Python's warnings about escapes in other people's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield from pickletools.genops(content)


_ARGUMENT_STEPS = {  # they put their argument on the stack
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
