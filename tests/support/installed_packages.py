"""Packages with other networks, which `make test-slow` installs in a folder of their own."""

import importlib
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.torchvision_shim import declare_operators

PACKAGES = str(Path(sys.prefix) / "peers")


def load_package(name: str) -> Any:
    """A module of a package that only slow tests need; without it they skip, and fail in CI."""
    sys.path.insert(0, PACKAGES)
    try:
        with warnings.catch_warnings():
            # What old packages warn of when they are imported is theirs.
            warnings.simplefilter("ignore")
            declare_operators()
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = f"{error}; install it with make test-slow"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    finally:
        sys.path.remove(PACKAGES)


def load_mmaction() -> Any:
    """MMAction2's networks.

    Its wheel leaves out a folder that it imports (a localizer, DRN), and it imports OpenCV for the
    pictures that its data loaders read: neither is part of any network, and stand-ins do.
    """
    if "mmaction.models" not in sys.modules:
        missing: Any = ModuleType("mmaction.models.localizers.drn.drn")
        missing.DRN = type("DRN", (), {})
        sys.modules["mmaction.models.localizers.drn"] = ModuleType("mmaction.models.localizers.drn")
        sys.modules[missing.__name__] = missing
        real = sys.modules.get("cv2")
        sys.modules["cv2"] = _Constants("cv2")
        try:
            return load_package("mmaction.models")
        finally:
            del sys.modules["cv2"]
            if real is not None:
                sys.modules["cv2"] = real
    return load_package("mmaction.models")


class _Constants(ModuleType):
    """A module in which every name is a number."""

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0
