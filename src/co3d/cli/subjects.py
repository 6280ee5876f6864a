"""Which network `co3d eval` and `co3d features` mean, and how it is fed."""

from pathlib import Path
from typing import cast

from co3d.cli.networks import build_network, is_file_network
from co3d.errors import OptionError
from co3d.evaluation.subject import Subject, make_subject, read_subject
from co3d.export import is_exported
from co3d.models import ClipModel, create_trained_model, find_card


def open_subject(name: str, weights: str | None, *, purpose: str) -> Subject:
    """A registered or trained network, one that FILE.py:FACTORY builds, or an exported file.

    Args:
        name: of the network. weights: a tag or a file.
        purpose: what it is for, in words that go after "cannot".

    Raises:
        OptionError: no weights are known, a file has its own, or no card says how the network is
            fed.
        UnknownModelError, WeightError, ExportedFileError, SourceNotFoundError: see `create_model`
            and `open_exported`.
    """
    if is_exported(name):
        if weights is not None:
            raise OptionError(
                f"cannot {purpose} {name}: its weights are settled in the file; leave --weights "
                "out, or export the network again"
            )
        return read_subject(Path(name))
    if not is_file_network(name):
        return make_subject(create_trained_model(name, weights, purpose=purpose))
    network = build_network(name, weights)
    if find_card(network) is None:
        raise OptionError(
            f"cannot {purpose} {name}: got a network without a card, expected a co3d.ModelCard as "
            "its attribute `card`, which says how to prepare pictures; set it in the factory "
            "(docs/own_network.md)"
        )
    return make_subject(cast(ClipModel, network))  # all that is asked of it is the card
