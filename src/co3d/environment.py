"""The folders of data sets, logs and the cache, from environment variables or `.env`."""

import io
import os
import stat
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pooch
from dotenv import dotenv_values

from co3d.errors import DataError, OptionError

VARIABLES = ("DATASETS_PATH", "LOGS_PATH")
_MOST_BYTES = 1 << 16


def load_environment() -> None:
    """Read variables that the environment lacks from the file `.env` of the working folder.

    Only those in `VARIABLES` are read: the folder may belong to anybody, and must not decide where
    code is loaded from.

    Raises:
        OptionError: the file cannot be read as text of `NAME=value` lines.
    """
    values = dotenv_values(stream=io.StringIO(_read(Path(".env"))), interpolate=False)
    for name in VARIABLES:
        if value := values.get(name):
            os.environ.setdefault(name, value)


def ignore_settings_here() -> None:
    """Keep matplotlib from reading `matplotlibrc` of the working folder, which may be anybody's.

    It reads that file first, at import: a bad one would make pictures fail or never finish.
    """
    folder = Path.cwd()
    if os.path.lexists("matplotlibrc"):
        os.chdir(Path(__file__).parent / "assets")
        try:
            with suppress(ImportError):
                import_module("matplotlib")
        finally:
            os.chdir(folder)


def _read(path: Path) -> str:
    """The text of a small regular file; empty if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _refuse(error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refuse("it is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise _refuse(f"it has more than {_MOST_BYTES} bytes")
    if b"\0" in data:
        raise _refuse("it holds a zero byte")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _refuse("it is not UTF-8") from error


def _refuse(reason: str | None) -> OptionError:
    return OptionError(
        f"cannot read .env in this folder: {reason}, expected lines such as "
        "DATASETS_PATH=/data; mend or rename it, or work in another folder"
    )


def find_dataset(path: Path) -> Path:
    """The path itself if it exists, otherwise the path under `DATASETS_PATH`.

    Raises:
        DataError: it exists in neither place.
    """
    if path.exists():
        return path
    shelf = os.environ.get("DATASETS_PATH")
    if shelf and (Path(shelf) / path).exists():
        return Path(shelf) / path
    under = f"under DATASETS_PATH={shelf}" if shelf else "DATASETS_PATH is not set"
    raise DataError(f"cannot find the data set {path}: not here, and {under}; check the path")


def logs_path() -> Path:
    """Where runs write if no folder is given: `LOGS_PATH`, else `runs`."""
    return Path(os.environ.get("LOGS_PATH") or "runs")


def cache_path() -> Path:
    """The folder of caches: `CO3D_CACHE`, else the platform's cache folder."""
    return Path(os.environ.get("CO3D_CACHE") or pooch.os_cache("co3d"))
