"""Fetch published checkpoints once, into a cache folder that `CO3D_CACHE` moves."""

from functools import partial
from pathlib import Path
from typing import Any

import pooch

from co3d.downloader import download
from co3d.errors import DownloadError, WeightError
from co3d.weights.catalogue import PublishedWeights
from co3d.weights.containers import find_container

RETRIES = 2


def fetch_weights(entry: PublishedWeights) -> Path:
    """Path of a published checkpoint in the cache, downloaded first when it is not there.

    The cache is the platform's folder for caches, or the folder that `CO3D_CACHE` names. A file
    gets its final name only once it is whole: its length is the one that the catalogue or the
    server gives, its SHA-256 that of the catalogue where it states one, and it is a checkpoint.

    Raises:
        DownloadError: the file cannot be fetched or stored; the message names the address, the
            path in the cache, and what to do with a file fetched by hand.
    """
    shelf, name = _open_shelf(entry)
    fetch: Any = partial(_download_whole, entry)  # pooch's stubs name other parameters
    try:
        return Path(shelf.fetch(name, downloader=fetch))
    except (OSError, ValueError, WeightError) as error:
        reason = " ".join(str(error).split())
        raise DownloadError(
            f"cannot download {entry.tag} weights of {entry.model} from {entry.url}: {reason}; "
            f"fetch that address by hand, save it as {cache_path(entry)} and run `co3d weights "
            f"verify`, or give its path: --weights PATH/{entry.file_name}"
        ) from error


def cache_path(entry: PublishedWeights) -> Path:
    """Where `fetch_weights` keeps a published checkpoint, whether it is there or not."""
    shelf, name = _open_shelf(entry)
    return Path(shelf.abspath) / name


def check_file(entry: PublishedWeights, path: Path) -> None:
    """Compare a file with what the catalogue knows of it.

    Raises:
        ValueError: its length or the first digits of its SHA-256 are others.
        WeightError: it is no checkpoint.
    """
    got_bytes = path.stat().st_size
    if entry.size_bytes and got_bytes != entry.size_bytes:
        raise ValueError(f"got {got_bytes} bytes, expected {entry.size_bytes}")
    expected = entry.sha256 or ""
    got = pooch.file_hash(str(path)) if expected else ""
    if not got.startswith(expected):
        raise ValueError(f"its SHA-256 begins with {got[: len(expected)]}, expected {expected}")
    find_container(path)


def _open_shelf(entry: PublishedWeights) -> tuple[pooch.Pooch, str]:
    """A pooch that knows this one file, and the name that the file has in it."""
    name = f"{entry.tag}/{entry.file_name}"
    whole_hash = entry.sha256 if entry.sha256 and len(entry.sha256) == 64 else None
    shelf = pooch.create(
        path=pooch.os_cache("co3d"),
        env="CO3D_CACHE",
        base_url="",
        registry={name: whole_hash},
        urls={name: entry.url},
        retry_if_failed=RETRIES,
    )
    return shelf, name


def _download_whole(entry: PublishedWeights, url: str, output_file: str, shelf: Any) -> None:
    """Download to a temporary file and refuse it when it is short or no checkpoint."""
    download(url, output_file, shelf)
    check_file(entry, Path(output_file))
