"""Class names: of public data sets from the package, or of any set from a file."""

from functools import cache
from importlib import resources
from pathlib import Path

from co3d.errors import OptionError


@cache
def read_labels(name: str) -> tuple[str, ...]:
    """Class names of a data set, index 0 first.

    Args:
        name: "kinetics400", "kinetics600", "kinetics700", "charades157" or "jester27".
    """
    text = (resources.files("co3d") / "assets" / "labels" / f"{name}.txt").read_text("utf-8")
    return tuple(text.splitlines())


def read_label_file(path: Path, option: str = "--labels") -> tuple[str, ...]:
    """Read class names from a file, one a line; empty lines are ignored.

    Args:
        path: of the file. option: by which it was given, for messages.

    Raises:
        OptionError: the file cannot be read, or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read {option} {path}: {error}; check the path") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise OptionError(f"cannot use {option} {path}: it names no class; write a name a line")
    return names
