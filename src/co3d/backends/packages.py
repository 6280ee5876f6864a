"""Optional packages: imported where they are used, and asked for by name when they are missing."""

import importlib
import importlib.util
from typing import Any

from co3d.errors import MissingPackageError


def is_installed(package: str) -> bool:
    """Whether a package can be imported, found out without importing it."""
    return importlib.util.find_spec(package) is not None


def require_package(package: str, *, extra: str) -> Any:
    """Import an optional package.

    Args:
        package: its import name.
        extra: the extra of co3d that brings it.

    Raises:
        MissingPackageError: it is not installed; the message has the command that installs it.
    """
    if not is_installed(package):
        raise MissingPackageError(
            f"the package {package} is not installed; get it with: pip install 'co3d[{extra}]'"
        )
    return importlib.import_module(package)
