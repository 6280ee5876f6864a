"""Environments beside that of the tests, which `make test-slow` installs."""

import os
import sys
from pathlib import Path

import pytest


def find_environment(name: str) -> Path:
    """The folder of one; without it tests are skipped, and fail in CI."""
    folder = Path(sys.prefix) / name
    if not (folder / "bin" / "python").exists():
        message = f"{folder} is absent; install it with make test-slow"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
