"""`co3d data annotations`: fetch what is published, and print the manual steps for the rest."""

import os
from pathlib import Path

from rich.text import Text

from co3d.console import Console
from co3d.datasets.annotations import ANNOTATIONS, fetch
from co3d.errors import OptionError


def fetch_annotations(name: str, output: Path | None) -> None:
    """Download, unpack and print.

    Raises:
        OptionError: no output folder is given or configured.
        DownloadError, DataError, OutputError: as for `fetch`.
    """
    console = Console(highlight=False)
    try:
        for path in fetch(name, output or _default_folder(name)):
            console.print(Text.assemble(("wrote ", "dim"), str(path)), soft_wrap=True)
    finally:  # the manual steps apply whether the download works or not
        console.print(ANNOTATIONS[name].videos, soft_wrap=True)


def _default_folder(name: str) -> Path:
    shelf = os.environ.get("DATASETS_PATH")
    if not shelf:
        raise OptionError(f"cannot place the annotations of {name}: give --output or DATASETS_PATH")
    return Path(shelf) / name / "annotations"
