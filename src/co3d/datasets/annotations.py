"""Official annotations: their addresses, and how to fetch and unpack them."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pooch

from co3d.downloader import download
from co3d.errors import DataError, DownloadError
from co3d.files import make_folder, output_file
from co3d.zip_directory import open_zip

WANTED_SUFFIXES = frozenset({".csv", ".json", ".txt"})
MAX_MEMBER_BYTES = 1 << 30
DEEPMIND = "https://storage.googleapis.com/deepmind-media/Datasets"
ALLEN_AI = "https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades"
FRAME_LISTS = "https://dl.fbaipublicfiles.com/pyslowfast/dataset/charades/frame_lists"


@dataclass(frozen=True)
class Annotations:
    """The published annotations of a data set.

    Attributes:
        files: name on disk -> address. Archives are unpacked, other files stored as they are.
        videos: instructions for getting the videos by hand.
    """

    files: dict[str, str]
    videos: str


def _kinetics(edition: str) -> Annotations:
    return Annotations(
        {f"kinetics{edition}.tar.gz": f"{DEEPMIND}/kinetics{edition}.tar.gz"},
        "The videos are YouTube's, and have no official download. The Common Visual Data "
        "Foundation hosts copies and scripts that fetch them: "
        "https://github.com/cvdfoundation/kinetics-dataset. Put them anywhere beside the lists, "
        "as SPLIT/CLASS/ID_START_END.mp4, say.",
    )


ANNOTATIONS = {
    "kinetics400": _kinetics("400"),
    "kinetics600": _kinetics("600"),
    "kinetics700": _kinetics("700_2020"),
    "charades": Annotations(
        {
            "Charades.zip": f"{ALLEN_AI}/Charades.zip",
            "frame_lists/train.csv": f"{FRAME_LISTS}/train.csv",
            "frame_lists/val.csv": f"{FRAME_LISTS}/val.csv",
        },
        "The videos are for non-commercial use; read the licence in the archive. Fetch "
        f"{ALLEN_AI}/Charades_v1_480.zip (videos) or {ALLEN_AI}/Charades_v1_rgb.tar "
        "(frames) and unpack it beside the lists.",
    ),
}


def fetch(name: str, folder: Path) -> list[Path]:
    """Download the annotations of a set and unpack them into a folder.

    Archives stay in the cache (`CO3D_CACHE`), and are fetched once. Only lists (.csv, .json, .txt)
    are taken out of them, by name and without their folders.

    Returns:
        The files that were written.

    Raises:
        DownloadError: an address does not answer; the message says how to continue by hand.
        DataError: an archive is broken.
        OutputError: the folder cannot be written.
    """
    written = []
    for file_name, url in ANNOTATIONS[name].files.items():
        path = _download(name, file_name, url, folder)
        for member, content in _unpack(path, file_name):
            target = folder / member
            make_folder(target.parent)
            with output_file(target) as temporary:
                temporary.write_bytes(content)
            written.append(target)
    return written


def _download(name: str, file_name: str, url: str, folder: Path) -> Path:
    key = f"annotations/{name}/{file_name}"
    shelf = pooch.create(
        path=pooch.os_cache("co3d"),
        env="CO3D_CACHE",
        base_url="",
        registry={key: None},  # nobody publishes hashes of these files
        urls={key: url},
        retry_if_failed=2,
    )
    fetcher: Any = download  # pooch's stubs name other parameters
    try:
        return Path(shelf.fetch(key, downloader=fetcher))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DownloadError(
            f"cannot download {url}: {reason}; fetch that address by hand and unpack it into "
            f"{folder}"
        ) from error


def _unpack(path: Path, file_name: str) -> Iterator[tuple[str, bytes]]:
    """The lists in an archive, by name; a file that is no archive is returned itself."""
    try:
        if file_name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    file = archive.extractfile(member) if member.isfile() else None
                    if file is not None and _is_wanted(name, member.size):
                        yield name, file.read()
        elif file_name.endswith(".zip"):
            with open_zip(io.BytesIO(path.read_bytes())) as archive:
                for info in archive.infolist():
                    name = PurePosixPath(info.filename).name
                    if _is_wanted(name, info.file_size):
                        yield name, archive.read(info)
        else:
            yield file_name, path.read_bytes()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"cannot unpack {path}: {error}; remove it and fetch it again") from error


def _is_wanted(name: str, size_bytes: int) -> bool:
    path = PurePosixPath(name)
    is_list = path.suffix.lower() in WANTED_SUFFIXES and not name.startswith(".")
    return is_list and "\\" not in name and size_bytes <= MAX_MEMBER_BYTES
