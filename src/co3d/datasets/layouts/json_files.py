"""Published JSON files: recognised by their beginning, and read as a whole."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from co3d.datasets.text_lines import Line, read_lines

HEAD_BYTES = 4096


def has_head(path: Path, pattern: "re.Pattern[bytes]") -> bool:
    """Whether a .json file begins with a pattern."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return pattern.match(file.read(HEAD_BYTES)) is not None


def read_json(path: Path, kind: type) -> Any:
    """The content of a file, which must be a `list` or a `dict`.

    Raises:
        DataError: it is not JSON, or has another type.
    """
    return parse_json(path, list(read_lines(path)), kind)


def parse_json(path: Path, lines: Sequence[Line], kind: type) -> Any:
    """Like `read_json`, from the lines of a file.

    Raises:
        DataError: as for `read_json`.
    """
    whole = Line(path, 1, "")
    try:
        content = json.loads("\n".join(line.text for line in lines))
    except (ValueError, RecursionError) as error:
        whole.refuse(str(error), "JSON")
    if not isinstance(content, kind):
        whole.refuse(content, "a JSON list" if kind is list else "a JSON object")
    return content
