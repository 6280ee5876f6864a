"""Where things lie: `DATASETS_PATH`, `LOGS_PATH`, `CO3D_CACHE`, in the environment or `.env`."""

import os
from pathlib import Path

import pooch
from dotenv import dotenv_values, find_dotenv

from co3d.errors import DataError

VARIABLES = ("DATASETS_PATH", "LOGS_PATH", "CO3D_CACHE")


def load_environment() -> None:
    """Take from the nearest `.env` file, in this folder or above, what the environment lacks.

    Only the variables in `VARIABLES`: a file in a folder of data is not to change anything else.
    """
    path = find_dotenv(usecwd=True)
    values = dotenv_values(path, interpolate=False) if path else {}
    for name in VARIABLES:
        if value := values.get(name):
            os.environ.setdefault(name, value)


def find_dataset(path: Path) -> Path:
    """A folder or file as it stands, or else under `DATASETS_PATH`.

    Raises:
        DataError: it is in neither place.
    """
    if path.exists():
        return path
    shelf = os.environ.get("DATASETS_PATH")
    if shelf and (Path(shelf) / path).exists():
        return Path(shelf) / path
    under = f"under DATASETS_PATH={shelf}" if shelf else "DATASETS_PATH is not set"
    raise DataError(f"cannot find the data set {path}: not here, and {under}; check the path")


def logs_path() -> Path:
    """Where runs write when no folder is named: `LOGS_PATH`, else `runs`."""
    return Path(os.environ.get("LOGS_PATH") or "runs")


def cache_path() -> Path:
    """Where what can be made again is kept: `CO3D_CACHE`, else the platform's folder for caches."""
    return Path(os.environ.get("CO3D_CACHE") or pooch.os_cache("co3d"))
