"""The first line of files that a run goes on from: what they are, and of which run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from co3d.errors import DataError, OptionError
from co3d.printable import spell_short

_NAMED, _SHOWN = 20, 100


@dataclass(frozen=True)
class Header:
    """What a file that a run goes on from is.

    Attributes:
        format, version: of the file.
        settings: what determines its contents.
    """

    format: str
    version: int
    settings: Mapping[str, Any]

    def encode(self) -> bytes:
        """The line, with its end."""
        values = {"format": self.format, "version": self.version, "settings": dict(self.settings)}
        return json.dumps(values, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"

    def check(self, line: bytes, path: Path) -> None:
        """Compare with the line that stands in a file.

        Raises:
            DataError: the file is something else, or of another version.
            OptionError: it belongs to a run with other settings.
        """
        try:
            values = json.loads(line)
            found, settings = (values["format"], values["version"]), values["settings"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found, settings = None, {}
        if found != (self.format, self.version) or not isinstance(settings, dict):
            raise DataError(
                f"cannot resume: {path} is no {self.format} of this version; choose another folder"
            )
        # Through JSON and back, as the file's own were.
        wanted = json.loads(json.dumps(dict(self.settings)))
        names = [n for n in wanted | settings if wanted.get(n, ...) != settings.get(n, ...)]
        if names:
            changes = ", ".join(
                f"{n[:_SHOWN]} {spell_short(settings.get(n))}, now {wanted.get(n)!r}"
                for n in names[:_NAMED]
            )
            raise OptionError(
                f"cannot resume: {path} holds another run ({changes}); give another --output, or "
                "remove that folder"
            )
