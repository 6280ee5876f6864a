"""Downloads over HTTP, with a progress bar on a terminal and no partial file at the end."""

from pathlib import Path
from typing import Any

import pooch
import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from co3d.progress import open_progress

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 16


def download(url: str, output_file: str, shelf: Any) -> None:
    """Fetch an address into a file, with the signature of pooch's downloaders.

    Raises:
        ValueError: the file is shorter than the server announced; pooch then tries again.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with open_progress(*columns) as display:
        bar: Any = _Bar(display, url.rsplit("/", 1)[-1])
        fetch = _HttpDownloader(
            progressbar=bar,  # the stubs allow bool only, the documentation such objects
            chunk_size=CHUNK_BYTES,
            timeout=TIMEOUT_SECONDS,
            headers={"Accept-Encoding": "identity"},  # else Content-Length is not the file's length
        )
        fetch(url, output_file, shelf)
    got_bytes = Path(output_file).stat().st_size
    if bar.total and got_bytes != bar.total:
        raise ValueError(f"got {got_bytes} bytes, expected {bar.total}")


class _HttpDownloader(pooch.HTTPDownloader):
    """pooch's downloader, but it closes the response (and its socket) when the server refuses."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Fetch one address into one file; see pooch."""
        try:
            return super().__call__(*arguments, **options)
        except requests.HTTPError as error:
            if error.response is not None:
                error.response.close()
            raise


class _Bar:
    """The progress protocol of pooch, drawn by Rich."""

    def __init__(self, display: Progress, title: str) -> None:
        self.total = 0
        self._display = display
        self._task = display.add_task(title, total=None)

    def update(self, advance_bytes: int) -> None:
        self._display.update(self._task, total=self.total or None, advance=advance_bytes)

    def reset(self) -> None:
        self._display.update(self._task, completed=0)

    def close(self) -> None:
        self._display.stop_task(self._task)
