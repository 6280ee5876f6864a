"""What all sections of a fleet file have in common: their checks, and secrets in their values."""

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
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rectangle = Annotated[list[int], Field(min_length=4, max_length=4)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]


class Section(BaseModel):
    """A part of the file: no unknown keys, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def fill_in(text: str, user: str) -> str:
    """A value with the secrets of which it speaks, percent-encoded inside of an address.

    Args:
        text: of the file.
        user: who needs it and what for, "open camera door: its source", for messages.

    Raises:
        FleetError: a secret is not there.
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
