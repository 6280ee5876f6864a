"""Class names of the public data sets, read from the package when they are asked for."""

from functools import cache
from importlib import resources


@cache
def read_labels(name: str) -> tuple[str, ...]:
    """Class names of a data set, index 0 first.

    Args:
        name: "kinetics400", "kinetics600", "charades157" or "jester27".
    """
    text = (resources.files("co3d") / "assets" / "labels" / f"{name}.txt").read_text("utf-8")
    return tuple(text.splitlines())
