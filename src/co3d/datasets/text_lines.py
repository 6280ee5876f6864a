"""Read text files that others wrote, line by line, with errors that name the line."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn

from co3d.errors import DataError
from co3d.printable import short_repr

MAX_BYTES = 1 << 30
"""The longest public list, Charades frame by frame, has a third of a gigabyte."""

SHOWN = 80
_MOST_NAME_BYTES, _MOST_PATH_BYTES = 255, 2048


class Line:
    """A line of a text file, which can raise an error about itself."""

    __slots__ = ("number", "path", "text")

    def __init__(self, path: Path, number: int, text: str) -> None:
        self.path, self.number, self.text = path, number, text

    def refuse(self, got: object, expected: str) -> NoReturn:
        """Raise a DataError with the file, the line number, its content and what was expected."""
        shown = short_repr(got)
        shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
        raise DataError(
            f"cannot read {self.path}, line {self.number}: got {shown}, expected {expected}; "
            "correct that line"
        )


def read_lines(path: Path) -> Iterator[Line]:
    """Lines of a UTF-8 text file that are not blank, without their ends.

    Raises:
        DataError: the file is absent, huge, or no text.
    """
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file; check the path")
    number = 0
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"cannot read {path}: got {size} bytes, expected at most {MAX_BYTES}; is it a list "
                "of videos?"
            )
        # Only the format's line ends count, not rarer ones, which names may contain.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield Line(path, number, text.rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"cannot read {path} after line {number}: got byte {error.object[error.start]:#04x}, "
            "expected UTF-8 text; save it as such"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its mode") from error


def check_relative(line: Line, path: str) -> str:
    """A path, checked to stay inside the manifest's root.

    Raises:
        DataError: it is empty, absolute, or climbs out.
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        line.refuse(path, "a relative path with / between folders and without ..")
    if is_too_long(path):
        line.refuse(path, f"a path of names of up to {_MOST_NAME_BYTES} bytes")
    return path


def is_too_long(path: str) -> bool:
    """Whether a path is longer than any file system allows."""
    encoded = path.encode(errors="surrogatepass")
    longest = max(map(len, encoded.split(b"/")))
    return longest > _MOST_NAME_BYTES or len(encoded) > _MOST_PATH_BYTES


def number_ids(names: Iterable[str]) -> Iterator[str]:
    """Unique ids: the second "a" becomes "a#2"."""
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for name in names:
        chosen = name
        while chosen in taken:
            counts[name] += 1
            chosen = f"{name}#{counts[name] + 1}"
        taken.add(chosen)
        yield chosen
