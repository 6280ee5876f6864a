"""Fetch published checkpoints once, into a cache folder that `CO3D_CACHE` can move."""

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
    """Path of a published checkpoint in the cache; downloads it if absent.

    The cache is the platform's cache folder, or the folder in `CO3D_CACHE`. A file gets its final
    name only when it is complete: its length must be that of the catalogue or the server, its
    SHA-256 that of the catalogue if stated, and it must be a checkpoint.

    Raises:
        DownloadError: the file cannot be fetched or stored; the message names the address, the
            path in the cache, and what to do with a file fetched by hand.
    """
    fetcher, name = _open_pooch(entry)
    fetch: Any = partial(_download_whole, entry)  # pooch's stubs name other parameters
    try:
        return Path(fetcher.fetch(name, downloader=fetch))
    except (OSError, ValueError, WeightError) as error:
        reason = " ".join(str(error).split())
        raise DownloadError(
            f"cannot download {entry.tag} weights of {entry.model} from {entry.url}: {reason}; "
            f"fetch that address by hand, save it as {cache_path(entry)} and run `co3d weights "
            f"verify`, or give its path: --weights PATH/{entry.file_name}"
        ) from error


def cache_path(entry: PublishedWeights) -> Path:
    """The cache path of a published checkpoint, whether the file exists or not."""
    fetcher, name = _open_pooch(entry)
    return Path(fetcher.abspath) / name


def check_file(entry: PublishedWeights, path: Path) -> None:
    """Check a file against the catalogue.

    Raises:
        ValueError: its length or the first digits of its SHA-256 differ.
        WeightError: it is not a checkpoint.
    """
    got_bytes = path.stat().st_size
    if entry.size_bytes and got_bytes != entry.size_bytes:
        raise ValueError(f"got {got_bytes} bytes, expected {entry.size_bytes}")
    expected = entry.sha256 or ""
    got = pooch.file_hash(str(path)) if expected else ""
    if not got.startswith(expected):
        raise ValueError(f"its SHA-256 begins with {got[: len(expected)]}, expected {expected}")
    find_container(path)


def _open_pooch(entry: PublishedWeights) -> tuple[pooch.Pooch, str]:
    """A pooch for this one file, and the file's name in it."""
    name = f"{entry.tag}/{entry.file_name}"
    whole_hash = entry.sha256 if entry.sha256 and len(entry.sha256) == 64 else None
    fetcher = pooch.create(
        path=pooch.os_cache("co3d"),
        env="CO3D_CACHE",
        base_url="",
        registry={name: whole_hash},
        urls={name: entry.url},
        retry_if_failed=RETRIES,
    )
    return fetcher, name


def _download_whole(entry: PublishedWeights, url: str, output_file: str, fetcher: Any) -> None:
    """Download to a temporary file, and refuse it if it is too short or not a checkpoint."""
    download(url, output_file, fetcher)
    check_file(entry, Path(output_file))
