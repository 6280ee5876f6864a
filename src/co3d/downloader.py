"""Downloads over HTTP that leave no connection open when an address refuses."""

from typing import Any

import pooch
import requests


class HttpDownloader(pooch.HTTPDownloader):
    """pooch's, which keeps the answer of a server that says no, and its socket with it."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Fetch one address into one file; see pooch."""
        try:
            return super().__call__(*arguments, **options)
        except requests.HTTPError as error:
            if error.response is not None:
                error.response.close()
            raise
