"""Packages with other networks, which `make test-slow` installs in a folder of their own."""

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from support.torchvision_shim import declare_operators

PACKAGES = str(Path(sys.prefix) / "peers")


def load_package(name: str) -> Any:
    """A module of a package that only slow tests need; without it they skip, and fail in CI."""
    sys.path.insert(0, PACKAGES)
    try:
        with warnings.catch_warnings():
            # fvcore compiles a loss function when it is imported.
            warnings.filterwarnings(
                "ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning
            )
            declare_operators()
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = f"{error}; install it with make test-slow"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    finally:
        sys.path.remove(PACKAGES)
