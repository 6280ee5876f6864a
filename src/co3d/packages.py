"""Optional packages: imported where they are used, and asked for by name when they are missing."""

import importlib
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from co3d.errors import MissingPackageError


def is_installed(package: str) -> bool:
    """Whether a package can be imported, found out without importing it."""
    return importlib.util.find_spec(package) is not None


def find_version(package: str) -> str | None:
    """The version of a package that is installed, by its name in an index; None without it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def extra_command(extra: str) -> str:
    """How to get an extra, for the way in which co3d itself is here.

    `pip install 'co3d[…]'` adds packages to a co3d that is installed, wherever it came from. Where
    it is not (its sources are on the path), pip would look for one in an index, and might find
    another project's.
    """
    if find_version("co3d") is not None:
        return f"pip install 'co3d[{extra}]'"
    return f"pip install '.[{extra}]' in the folder of co3d's pyproject.toml"


def require_package(package: str, *, extra: str) -> Any:
    """Import an optional package.

    Args:
        package: its import name.
        extra: the extra of co3d that brings it.

    Raises:
        MissingPackageError: as for `import_package`.
    """
    command = extra_command(extra)
    if not is_installed(package):
        raise MissingPackageError(f"the package {package} is not installed; get it with: {command}")
    return import_package(package, install=command)


def import_package(module: str, *, install: str) -> Any:
    """Import an optional module that may be absent or fail.

    Args:
        module: its import name.
        install: how to get it, in words or as a command.

    Raises:
        MissingPackageError: it is not installed or cannot be imported; the message says why, and
            how to get it.
    """
    try:
        return importlib.import_module(module)
    # It imports others in turn, and these fail in their own ways when versions do not match.
    except (ImportError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MissingPackageError(
            f"cannot import {module} ({reason}); get it with: {install}"
        ) from error
