"""Which part of a data set a command reads, and the names of its classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from co3d.console import warn
from co3d.datasets.layouts.class_names import ClassIndex
from co3d.datasets.manifest import Manifest
from co3d.errors import OptionError
from co3d.evaluation.subject import Subject, make_subject
from co3d.models.labels import read_label_file
from co3d.models.part_head import keep_outputs, name_outputs, require_labels

Head = Literal["whole", "part"]


@dataclass(frozen=True)
class DataChoice:
    """Options of commands that read a data set.

    Attributes:
        root: folder of the videos, if lists lie elsewhere.
        labels: file of names for classes without names, of the data set or of the network.
        only: file with the names of the classes to keep.
    """

    root: Path | None = None
    labels: Path | None = None
    only: Path | None = None

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names in the file `labels`.

        Raises:
            OptionError: it cannot be read.
        """
        return None if self.labels is None else read_label_file(self.labels)

    def list_keywords(self, labels: Sequence[str] | None) -> dict[str, Any]:
        """The keyword arguments for `open_dataset`.

        Args:
            labels: names for the classes of the data set.

        Raises:
            OptionError: the file `only` cannot be read.
        """
        only = None if self.only is None else read_label_file(self.only, "--only")
        return {"root": self.root, "labels": labels, "only": only}


def name_subject(subject: Subject, choice: DataChoice) -> tuple[Subject, tuple[str, ...] | None]:
    """Give the names to the network if its classes have none, otherwise to the data set.

    Returns:
        The network, and the names for the data set, if any.

    Raises:
        OptionError: the number of names differs from the number of outputs.
    """
    names = choice.label_names
    if names is None or subject.card.labels:
        return subject, names
    card = name_outputs(subject.card, names, subject.classes)
    return replace(subject, card=card), None


def restrict_to_classes(subject: Subject, manifest: Manifest) -> Subject:
    """The network reduced to the outputs whose class names occur in the data set.

    Raises:
        OptionError: a class has no name or is unknown to the network, or the network is exported.
    """
    card = subject.card
    if subject.model is None:
        raise OptionError(
            f"cannot take a part of the classes of {card.name}: an exported file fixes them; "
            "name the network that it was made of"
        )
    index = ClassIndex(card.labels)
    names = manifest.class_names
    places = require_labels(card, names, [index.find(name) for name in names])
    subject.model.card = card
    return make_subject(keep_outputs(subject.model, places))


def warn_of_order(subject: Subject, manifest: Manifest) -> None:
    """Warn if only one side names its classes, since then nothing shows that their orders agree."""
    names = manifest.class_names
    if not subject.card.labels and len(names) == subject.classes and not names[0].isdigit():
        warn(
            f"{subject.card.name} does not name its classes: they are taken to be those of the "
            f"data set in the order {', '.join(names[:3])}{' …' if len(names) > 3 else ''}; "
            "--labels FILE names them"
        )
