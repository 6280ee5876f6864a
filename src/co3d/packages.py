"""Import optional packages where they are used, with an error that says how to install them."""

import importlib
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from co3d.errors import MissingPackageError


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported for that."""
    return importlib.util.find_spec(package) is not None


def find_version(package: str) -> str | None:
    """The installed version of a package, by its name on the index; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def extra_command(extra: str) -> str:
    """The command that installs an extra, for the way in which co3d itself is installed.

    `pip install 'co3d[…]'` adds packages to an installed co3d, wherever it came from. If co3d is
    only on the path as sources, pip would search an index for it, and might find another project.
    """
    if find_version("co3d") is not None:
        return f"pip install 'co3d[{extra}]'"
    return f"pip install '.[{extra}]' in the folder of co3d's pyproject.toml"


def require_package(package: str, *, extra: str) -> Any:
    """Import an optional package.

    Args:
        package: its import name.
        extra: the extra of co3d that contains it.

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
        MissingPackageError: it is not installed or cannot be imported; the message gives the reason
            and `install`.
    """
    try:
        return importlib.import_module(module)
    # The module imports others, which fail in many ways when versions do not match.
    except (ImportError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MissingPackageError(
            f"cannot import {module} ({reason}); get it with: {install}"
        ) from error
