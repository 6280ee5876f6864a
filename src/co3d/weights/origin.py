"""Whether weights are published ones: told by their tag or by their content, never by a name."""

from pathlib import Path

import pooch

from co3d.weights.catalogue import PublishedWeights, list_weights
from co3d.weights.download import cache_path


def identify_weights(model: str, weights: str | Path | None) -> PublishedWeights | None:
    """The published checkpoint that weights of a model are; None where that is not known.

    A tag is fetched from where it is published. A file is a published one if its SHA-256 is that of
    the catalogue, or that of the file that was fetched by a tag before.

    Args:
        model: registry name.
        weights: a tag or a file; anything else is no published checkpoint.
    """
    entries = list_weights(model)
    for entry in entries:
        if weights == entry.tag:
            return entry
    if weights is None or not Path(weights).is_file():
        return None
    digest = pooch.file_hash(str(weights))
    for entry in entries:
        fetched = cache_path(entry)
        if entry.sha256 and digest.startswith(entry.sha256):
            return entry
        if fetched.is_file() and pooch.file_hash(str(fetched)) == digest:
            return entry
    return None
