"""Open the network that `co3d eval`, `co3d features` or `co3d label` names."""

from torch import nn

from co3d.evaluation.subject import Subject, find_subject
from co3d.export import is_exported
from co3d.models.file_networks import build_network, is_file_network


def open_subject(name: str, weights: str | None, *, purpose: str) -> Subject:
    """A registered or trained network, one that FILE.py:FACTORY builds, or an exported file.

    Args:
        name: of the network. weights: a tag or a file.
        purpose: what it is for, as words that follow "cannot" in errors.

    Raises:
        OptionError: as for `build_network` and `find_subject`.
        UnknownModelError, WeightError, ExportedFileError, SourceNotFoundError: see `find_subject`.
    """
    network, left = build_if_own(name, weights)
    return find_subject(network, left, purpose=purpose)


def build_if_own(name: str, weights: str | None) -> tuple[str | nn.Module, str | None]:
    """Build the network of FILE.py:FACTORY with its weights; other names are returned unchanged.

    Returns:
        The network or its name, and the weights that still need to be loaded.

    Raises:
        OptionError, WeightError: as for `build_network`.
    """
    if is_file_network(name) and not is_exported(name):
        return build_network(name, weights), None
    return name, weights
