"""The base class and types of a fleet file's sections, and secrets in their values."""

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from co3d.errors import FleetError
from co3d.files import read_small

MAX_SECRET_BYTES = 1 << 16
# ${NAME} is an environment variable, ${file:PATH} the first line of a file.
REFERENCE = re.compile(r"\$\{(file:)?([^}]*)\}")

Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rectangle = Annotated[list[int], Field(min_length=4, max_length=4)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]


class Section(BaseModel):
    """The base of all sections: immutable, without unknown keys or implicit conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def fill_in(text: str, user: str) -> str:
    """Replace references to secrets in a value; they are percent-encoded within a URL.

    Args:
        text: the value.
        user: who needs it and what for, such as "open camera door: its source", for messages.

    Raises:
        FleetError: a secret is missing.
    """

    def find(match: "re.Match[str]") -> str:
        is_file, name = match.groups()
        try:
            secret = _read_secret(Path(name)) if is_file else os.environ[name]
        except (KeyError, OSError, ValueError) as error:
            kind = "file" if is_file else "environment variable"
            is_absent = isinstance(error, KeyError | FileNotFoundError)
            reason = "is not there; set it" if is_absent else f"cannot be read: {error}"
            raise FleetError(
                f"cannot {user} speaks of the {kind} {name!r}, which {reason}"
            ) from error
        return quote(secret, safe="") if "://" in text[: match.start()] else secret

    return REFERENCE.sub(find, text)


def _read_secret(path: Path) -> str:
    """The first line of a file."""
    return read_small(path, MAX_SECRET_BYTES).decode().split("\n")[0].rstrip("\r")
