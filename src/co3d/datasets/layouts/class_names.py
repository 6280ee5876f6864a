"""Class names, which data sets spell with spaces, underscores, quotes and capitals as they like."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from co3d.errors import OptionError
from co3d.models.labels import read_labels

KINETICS = ("kinetics400", "kinetics600")
KNOWN_SETS = (*KINETICS, "charades157")


def normalise(name: str) -> str:
    """The spelling by which class names are compared."""
    return " ".join(name.replace("_", " ").replace('"', "").casefold().split())


class ClassIndex:
    """Index of a class by its name, however spelt."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._index = {normalise(name): index for index, name in enumerate(self.names)}

    def find(self, name: str) -> int | None:
        """Index of a class; None when there is none of this name."""
        return self._index.get(normalise(name))


def read_classes(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Class names: as given, or those of "kinetics400", "kinetics600" or "charades157".

    Raises:
        OptionError: no set of this name is known.
    """
    if not isinstance(classes, str):
        return tuple(classes)
    if classes not in KNOWN_SETS:
        raise OptionError(
            f"cannot find the class names of {classes!r}, expected {', '.join(KNOWN_SETS)} or a "
            "list of names; give one of them"
        )
    return read_labels(classes)


def choose_kinetics_classes(place: Path, labels: Iterable[str]) -> tuple[str, ...]:
    """The class names of the Kinetics that a list of labels comes from.

    The one that the path names (`kinetics600`, `k600`), else the smallest that has all labels; for
    a set of one's own, its labels in order.
    """
    spelt = sorted(set(labels))
    wanted = {normalise(label) for label in spelt}
    fitting = [
        names
        for names in map(read_labels, KINETICS)
        if wanted <= {normalise(name) for name in names}
    ]
    named = [names for names in fitting if _names_kinetics(place, len(names))]
    return (named or fitting or [tuple({normalise(label): label for label in spelt}.values())])[0]


def _names_kinetics(place: Path, number: int) -> bool:
    """Whether a folder or file of a path is named after the Kinetics of so many classes."""
    name = re.compile(rf"(?<![a-z])k(inetics)?[-_ ]?{number}(?!\d)", re.IGNORECASE)
    return any(name.search(part) for part in place.parts)
