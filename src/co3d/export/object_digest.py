"""Computes a digest of a network from its content: numbers, tensors, and names of installed code.

Two networks with the same digest compute the same, in any process. A network gets no digest, rather
than a wrong one, if it has the user's own code (which may read globals, files or the environment),
hooks, or replaced methods.
"""

import enum
import hashlib
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from co3d.compiler.program import raw_bytes
from co3d.export.installed import is_installed

_TORCH_KINDS = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
_PLAIN_KINDS = (bool, int, float, str, bytes, tuple, list, dict, type(None))


class NoDigestError(Exception):
    """An object has content that a digest cannot identify."""


class ObjectDigest:
    """Computes one digest of several objects."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        # Objects are kept alive, so that their ids are not reused.
        self._seen: dict[int, tuple[int, Any]] = {}

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Add an object and everything that it refers to.

        Raises:
            NoDigestError: it has content that a digest cannot identify; the message names it.
        """
        kind = type(value)
        if value is None or kind in (bool, int, str, bytes):
            self._write(kind.__name__, repr(value))
        elif kind is float:
            self._write("float", struct.pack("<d", value).hex())
        elif isinstance(value, _TORCH_KINDS):
            self._write("torch", repr(value))
        elif kind is tuple:
            self._add_items("tuple", value)
        elif id(value) in self._seen:
            self._write("again", str(self._seen[id(value)][0]))
        else:
            self._seen[id(value)] = len(self._seen), value
            self._add_new(value, kind)

    def _write(self, kind: str, text: str) -> None:
        data = text.encode()
        self._hash.update(f"{kind} {len(data)} ".encode() + data)

    def _add_new(self, value: Any, kind: type) -> None:
        if isinstance(value, Tensor):
            self._add_tensor(value)
        elif kind is list:
            self._add_items("list", value)
        elif kind in (dict, OrderedDict):
            self._add_items(kind.__name__, [part for item in value.items() for part in item])
        elif kind in (set, frozenset):
            if not all(type(item) in (str, int) for item in value):
                raise NoDigestError(f"a {kind.__name__} of other things than words and numbers")
            self._add_items(kind.__name__, sorted(value, key=repr))
        elif isinstance(value, (FunctionType, BuiltinFunctionType, MethodDescriptorType)):
            self._add_by_name(value)
        elif isinstance(value, type):
            check_class(value)
            self._add_by_name(value)
        elif isinstance(value, enum.Enum):
            self._add_items("member", (kind, value.name))
        elif isinstance(value, nn.Module):
            self._add_module(value)
        elif hasattr(value, "__dict__") and all(map(_holds_all_in_its_dict, kind.__mro__)):
            self._add_items("instance", (kind, _list_class_values(kind), vars(value)))
        else:
            raise NoDigestError(f"an object of the kind {kind.__module__}.{kind.__qualname__}")

    def _add_items(self, kind: str, items: Iterable[Any]) -> None:
        held = list(items)
        self._write(kind, str(len(held)))
        for item in held:
            self.add(item)

    def _add_tensor(self, tensor: Tensor) -> None:
        plain = type(tensor) in (Tensor, nn.Parameter)
        if not plain or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise NoDigestError(f"a tensor of a kind of its own, {type(tensor).__name__}")
        if vars(tensor) or tensor.grad_fn is not None or tensor.is_conj() or tensor.is_neg():
            raise NoDigestError("a tensor that carries more than its numbers")
        self._write("tensor", f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}")
        self._hash.update(raw_bytes(tensor))

    def _add_by_name(self, value: Any) -> None:
        """Add installed code by its name; the versions in the digest identify its content."""
        module, name = getattr(value, "__module__", None), value.__qualname__
        if not module or not is_installed(module) or _look_up(module, name) is not value:
            raise NoDigestError(f"{module}.{name}, which is no installed code")
        self._write("installed", f"{module}.{name}")

    def _add_module(self, module: nn.Module) -> None:
        """Add a module's class and attributes; none may replace a method."""
        held = vars(module)
        for name, value in held.items():
            if name.endswith("_hooks") and value:
                raise NoDigestError(f"a {type(module).__name__} with hooks")
            if not isinstance(value, nn.Module) and callable(getattr(type(module), name, None)):
                raise NoDigestError(f"a {type(module).__name__} whose {name} was replaced")
        # Without the mode, because networks are always converted in evaluation mode.
        attributes = {name: value for name, value in held.items() if name != "training"}
        self._add_items("module", (type(module), _list_class_values(type(module)), attributes))


def check_class(kind: type) -> None:
    """Check that a class and its bases are installed, and that their methods are not replaced.

    Raises:
        NoDigestError: a class is the user's own, or a method was replaced by a user's function.
    """
    for base in kind.__mro__:
        if not is_installed(base.__module__):
            raise NoDigestError(f"the class {base.__module__}.{base.__qualname__} of a user's own")
        check_methods(base)


def check_methods(kind: type) -> None:
    """Check that no method defined by a class itself is a user's function.

    Raises:
        NoDigestError: one is.
    """
    for name, member in list(vars(kind).items()):
        check_function(f"{kind.__qualname__}.{name}", getattr(member, "__func__", member))


def check_function(name: str, function: object) -> None:
    """Check that an object is not a user's function.

    Raises:
        NoDigestError: it is.
    """
    if not isinstance(function, FunctionType):
        return
    # The module of its code, because a decorator may change `__module__`.
    home = str(function.__globals__.get("__name__", ""))
    is_named_tuples = home.startswith("namedtuple_") and function.__code__.co_filename == "<string>"
    if not is_named_tuples and not is_installed(home):
        raise NoDigestError(f"{name} was replaced by a function of {home or 'no module'}")


def _holds_all_in_its_dict(kind: type) -> bool:
    """Whether instances of a class have no content besides their `__dict__`.

    Classes written in C may have more, as `functools.partial` has. They are recognised by their
    lack of Python functions.
    """
    held = vars(kind).values()
    is_made_in_python = any(isinstance(member, FunctionType) for member in held)
    return kind is object or (is_made_in_python and "__slots__" not in vars(kind))


def _list_class_values(kind: type) -> list[tuple[str, Any]]:
    """The plain class attributes of an object's classes, except torch's."""
    return [
        (f"{base.__qualname__}.{name}", value)
        for base in kind.__mro__
        if not base.__module__.startswith("torch.")
        for name, value in sorted(vars(base).items(), key=lambda item: item[0])
        if not name.startswith("__") and type(value) in _PLAIN_KINDS
    ]


def _look_up(module: str, qualname: str) -> Any:
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    return found
