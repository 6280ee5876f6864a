"""The published checkpoints that co3d knows by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from co3d.errors import UnknownModelError

_PYSLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast"
_PYSLOWFAST_LICENCE = (
    "none stated for the weights; the repository that lists them (PySlowFast) is Apache-2.0"
)


@dataclass(frozen=True)
class PublishedWeights:
    """One published checkpoint.

    Attributes:
        model: registry name of the network that it fits.
        tag: what `create_model(model, weights=tag)` calls it.
        url: where it is published; its last part is the name of the file in the cache.
        labels: the data set whose class names index its outputs.
        licence: what the publisher states.
        accuracy: name of a measure -> published value in percent.
        size_bytes, sha256: of the file; None where the publisher states none, so that only the
            length that the server announces is checked.
    """

    model: str
    tag: str
    url: str
    labels: str
    licence: str
    accuracy: Mapping[str, float]
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Last part of the address."""
        return self.url.rsplit("/", 1)[-1]


def _x3d(model: str, ten_views: float, thirty_views: float) -> PublishedWeights:
    return PublishedWeights(
        model=model,
        tag="kinetics400",
        url=f"{_PYSLOWFAST}/x3d_models/{model}.pyth",
        labels="kinetics400",
        licence=_PYSLOWFAST_LICENCE,
        accuracy={
            "Kinetics-400 top-1, 10 views": ten_views,
            "Kinetics-400 top-1, 30 views": thirty_views,
        },
    )


_PUBLISHED = (
    _x3d("x3d_xs", 68.7, 69.5),
    _x3d("x3d_s", 73.1, 73.5),
    _x3d("x3d_m", 75.1, 76.2),
    _x3d("x3d_l", 76.9, 77.5),
)


def list_weights(model: str | None = None) -> list[PublishedWeights]:
    """The published checkpoints, all of them or those of one model."""
    return [entry for entry in _PUBLISHED if model in (None, entry.model)]


def find_weights(model: str, tag: str) -> PublishedWeights:
    """The published checkpoint `tag` of `model`.

    Raises:
        UnknownModelError: there is none; the message lists the tags that there are.
    """
    tags = {entry.tag: entry for entry in list_weights(model)}
    if tag not in tags:
        raise UnknownModelError(
            f"no weights {tag!r} for {model}: it is neither a file nor one of the published tags "
            f"({', '.join(sorted(tags)) or 'none'}); give one of these or the path of a checkpoint"
        )
    return tags[tag]
