"""Whether weights are published ones, recognised by tag or content, never by file name."""

from pathlib import Path

import pooch

from co3d.weights.catalogue import PublishedWeights, list_weights
from co3d.weights.download import cache_path


def identify_weights(model: str, weights: str | Path | None) -> PublishedWeights | None:
    """The published checkpoint of a model's weights; None if they are not known to be one.

    A tag names a published checkpoint. A file is one if its SHA-256 equals the catalogue's, or that
    of a file that was fetched by tag before.

    Args:
        model: registry name.
        weights: a tag or a file; other values are no published checkpoint.
    """
    entries = list_weights(model)
    for entry in entries:
        if weights == entry.tag:
            return entry
    if weights is None or not Path(weights).is_file():
        return None
    size_bytes = Path(weights).stat().st_size
    # Files are large, so those of another size are not hashed.
    alike = [entry for entry in entries if entry.sha256 or _fetched_bytes(entry) == size_bytes]
    digest = pooch.file_hash(str(weights)) if alike else ""
    for entry in alike:
        if entry.sha256 and digest.startswith(entry.sha256):
            return entry
        is_alike = _fetched_bytes(entry) == size_bytes
        if is_alike and pooch.file_hash(str(cache_path(entry))) == digest:
            return entry
    return None


def _fetched_bytes(entry: PublishedWeights) -> int | None:
    """Size of the file that was fetched by tag before; None if none was."""
    path = cache_path(entry)
    return path.stat().st_size if path.is_file() else None
