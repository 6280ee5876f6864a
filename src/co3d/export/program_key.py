"""The cache key of a converted program: a digest of everything that a conversion depends on."""

import importlib
import pkgutil
import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.overrides import _get_current_function_mode_stack

import co3d.compiler
import co3d.models
from co3d.compiler.options import ConvertOptions
from co3d.compiler.rules.registry import _RULES
from co3d.export.installed import describe_installed
from co3d.export.object_digest import NoDigestError, ObjectDigest, check_function, check_methods

# Modules that are checked for functions that the user has replaced, besides the network's classes.
_WATCHED = ("co3d.compiler", "co3d.export", "co3d.models", "torch.nn.")


def find_program_key(
    model: nn.Module, clip_shapes: tuple[tuple[int, ...], ...], options: ConvertOptions
) -> str | None:
    """Compute a digest of a network, its weights, the options, and the code that converts it.

    Returns:
        64 hexadecimal digits; None if the conversion depends on content that a digest cannot
        identify, such as a user's class, a hook, or a replaced function.
    """
    digest = ObjectDigest()
    try:
        _check_process()
        digest.add(describe_installed())
        digest.add([str(torch.get_default_dtype()), [list(shape) for shape in clip_shapes]])
        digest.add(vars(options))
        digest.add(_list_constants())
        digest.add(model)
    except NoDigestError:
        return None
    return digest.hexdigest()


def _check_process() -> None:
    """Check that installed code was not changed at run time, by replaced functions, hooks or modes.

    Raises:
        NoDigestError: it was; the message names what.
    """
    for name, value in vars(torch_modules).items():
        if name.startswith("_global") and name.endswith("_hooks") and value:
            raise NoDigestError("hooks on all modules")
    if torch.is_autocast_enabled("cpu") or _get_current_function_mode_stack():
        raise NoDigestError("a mode that changes operators")
    for target, function in _RULES.items():
        check_function(f"the rule of {target}", function)
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name == "torch" or name.startswith(_WATCHED)):
            for part, value in list(vars(module).items()):
                check_function(f"{name}.{part}", value)
                if isinstance(value, type) and value.__module__ == name:
                    check_methods(value)


def _list_constants() -> dict[str, Any]:
    """The plain constants in modules of compiler and models, which may have been changed."""
    found: dict[str, Any] = {}
    for module in _constant_modules():
        for part, value in vars(module).items():
            if not part.startswith("__") and type(value) in (bool, int, float, str, tuple):
                name = f"{module.__name__}.{part}"
                found[name] = _describe(name, value)
    return found


@cache
def _constant_modules() -> tuple[ModuleType, ...]:
    """All modules of the compiler and the models; those that are not loaded yet are imported."""
    names = [
        info.name
        for package in (co3d.compiler, co3d.models)
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return tuple(importlib.import_module(name) for name in sorted(names))


def _describe(name: str, value: Any) -> str:
    """A constant, or the items of a tuple, as text; user's functions raise NoDigestError."""
    if isinstance(value, tuple):
        return f"({', '.join(_describe(name, item) for item in value)})"
    check_function(name, value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
    return repr(value) if type(value) in (bool, int, float, str) else type(value).__qualname__
