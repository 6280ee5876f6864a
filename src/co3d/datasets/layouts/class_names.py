"""Compare class names, which data sets write with various spaces, underscores, quotes and case."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from co3d.errors import OptionError
from co3d.models.labels import read_labels

_LOG = logging.getLogger("co3d")
KINETICS = ("kinetics400", "kinetics600", "kinetics700")
KNOWN_SETS = (*KINETICS, "charades157")


def normalise(name: str) -> str:
    """The normalised form in which class names are compared."""
    return " ".join(name.replace("_", " ").replace('"', "").casefold().split())


class ClassIndex:
    """Maps class names, however written, to indices."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._index = {normalise(name): index for index, name in enumerate(self.names)}

    def find(self, name: str) -> int | None:
        """Index of a class; None when there is none of this name."""
        return self._index.get(normalise(name))

    def require(self, name: str) -> int:
        """Index of a class that is there."""
        return self._index[normalise(name)]


def merge_spellings(labels: Iterable[str]) -> tuple[str, ...]:
    """Class names in alphabetical order, of several spellings of one the first.

    Classes are compared by `normalise` everywhere, so these could not be told apart; it is said.
    """
    first: dict[str, str] = {}
    for label in sorted(set(labels)):
        name = first.setdefault(normalise(label), label)
        if name != label:
            _LOG.warning("%r and %r are taken as one class", name, label)
    return tuple(first.values())


def read_classes(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Class names: as given, or those of one of `KNOWN_SETS`.

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
    """The class names of the Kinetics version that a list of labels comes from.

    The version that the path names (`kinetics600`, `k600`), else the smallest that has all labels;
    for other sets, their labels in order.
    """
    spelt = sorted(set(labels))
    wanted = {normalise(label) for label in spelt}
    fitting = [
        names
        for names in map(read_labels, KINETICS)
        if wanted <= {normalise(name) for name in names}
    ]
    named = [names for names in fitting if _names_kinetics(place, len(names))]
    return (named or fitting or [merge_spellings(spelt)])[0]


def _names_kinetics(place: Path, number: int) -> bool:
    """Whether a path has a folder or file named after the Kinetics with this number of classes."""
    name = re.compile(rf"(?<![a-z])k(inetics)?[-_ ]?{number}(?!\d)", re.IGNORECASE)
    return any(name.search(part) for part in place.parts)
