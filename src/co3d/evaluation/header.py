"""The first line of a file that a later run resumes from: its format and settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from co3d.errors import DataError, OptionError
from co3d.files import make_folder, output_file, read_small
from co3d.printable import short_repr

_NAMED, _SHOWN = 20, 100
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Header:
    """The format of a file that a run can resume from, and the settings that made it.

    Attributes:
        format, version: of the file.
        settings: all that determines its contents; a run with other settings must not resume.
    """

    format: str
    version: int
    settings: Mapping[str, Any]

    def encode(self) -> bytes:
        """The line, with its end."""
        values = {"format": self.format, "version": self.version, "settings": dict(self.settings)}
        return json.dumps(values, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"

    def check_or_write(self, path: Path) -> None:
        """Compare with the header of an existing file; write a new one, and its folder, if absent.

        Raises:
            DataError, OptionError: as for `check`. OutputError: it cannot be written.
        """
        make_folder(path.parent)
        if not path.exists():
            with output_file(path) as temporary:
                temporary.write_bytes(self.encode())
            return
        try:
            content = read_small(path, _MOST_BYTES)
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot resume: {path} cannot be read ({error}); choose another folder"
            ) from error
        self.check(content, path)

    def check(self, line: bytes, path: Path) -> None:
        """Compare with the header line of a file.

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
        # Converted to JSON and back, like the file's settings.
        wanted = json.loads(json.dumps(dict(self.settings)))
        names = [n for n in wanted | settings if wanted.get(n, ...) != settings.get(n, ...)]
        if names:
            changes = ", ".join(
                f"{n[:_SHOWN]} {short_repr(settings.get(n))}, now {wanted.get(n)!r}"
                for n in names[:_NAMED]
            )
            raise OptionError(
                f"cannot resume: {path} holds another run ({changes}); give another --output, or "
                "remove that folder"
            )
