"""Arguments of public functions, checked against their annotations before anything runs."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from co3d.errors import OptionError
from co3d.printable import short_repr

P = ParamSpec("P")
R = TypeVar("R")


def check_arguments(**advice: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a public function so that arguments of wrong types raise an OptionError.

    Each argument is compared with its annotation: classes, unions, literals, and the items of
    sequences and mappings. NumPy integers count as integers, integers as floats, and arrays as
    sequences. A check takes some microseconds, so `step` is not decorated. Ranges are checked by
    the function itself.

    Args:
        advice: name of a parameter -> what to do about a wrong one.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.cache
        def read_hints() -> dict[str, Any]:
            return get_type_hints(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            for name, hint in read_hints().items():
                # The annotation of **keywords applies to each value, so these are not checked.
                if name in given and not _fits(given[name], hint) and not _is_rest(signature, name):
                    raise OptionError(
                        f"cannot call {_name(function)}: got {name} = {_describe(given[name])}, "
                        f"expected {_spell(hint)}{'; ' if name in advice else ''}"
                        f"{advice.get(name, '')}"
                    )
            return function(*args, **kwargs)

        return checked

    return decorate


def _is_rest(signature: inspect.Signature, name: str) -> bool:
    return signature.parameters[name].kind in (
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value fits an annotation."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is Literal:
        # `in` would compare each element of an array. The function itself checks literals.
        return any(type(value) is type(word) for word in inner)
    if origin is tuple:
        return isinstance(value, tuple | list) and (
            all(_fits(item, inner[0]) for item in value)
            if inner[-1] is Ellipsis
            else len(value) == len(inner) and all(map(_fits, value, inner))
        )
    if origin is Sequence:
        return _is_sequence(value) and all(_fits(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(key, inner[0]) for key in value)
    if origin is Iterable:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if origin is Callable or hint is Callable:
        return callable(value)
    return _is_of_class(value, hint if origin is None else origin)


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_of_class(value: Any, kind: Any) -> bool:
    is_bool = isinstance(value, bool | np.bool_)
    if kind is bool:
        return is_bool
    if kind is int:
        return isinstance(value, Integral) and not is_bool
    if kind is float:
        return isinstance(value, Real) and not is_bool
    if getattr(kind, "_is_protocol", False):  # any object with its methods fits
        return all(hasattr(value, name) for name in vars(kind) if not name.startswith("_"))
    return value is None if kind in (None, type(None)) else isinstance(value, kind)


def _name(function: Callable[..., Any]) -> str:
    return function.__qualname__.removesuffix(".__init__")


def _describe(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, bool | int | float | str | bytes | list | tuple | dict):
        return short_repr(value)
    article = "an" if type(value).__name__[0] in "AEIOUaeiou" else "a"
    return f"{article} {type(value).__name__}"


def _spell(hint: Any) -> str:
    """An annotation in the words of the documentation."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_spell, inner)))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Sequence, Iterable):
        return f"a list of {_spell(inner[0])}"
    if origin is tuple:
        return f"({', '.join('...' if item is Ellipsis else _spell(item) for item in inner)})"
    if origin is not None:
        return getattr(origin, "__name__", str(origin))
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))
