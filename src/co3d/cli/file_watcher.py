"""Watch a file for changes."""

import threading
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 1.0


class FileWatcher:
    """Calls a function in a separate thread when a file has changed; use it in a `with` block.

    Args:
        path: of the file. on_change: what to call; it must not raise.
    """

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path, self._on_change = path, on_change
        self._stamp = self._read_stamp()
        self._must_call = self._is_over = False
        self._wake = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name=f"co3d watches {path}", daemon=True
        )

    def notify(self) -> None:
        """Call the function soon, whether the file changed or not; safe in a signal handler."""
        self._must_call = True
        self._wake.set()

    def _watch(self) -> None:
        while True:
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            if self._is_over:
                return
            stamp = self._read_stamp()
            # A file that is being replaced is absent for a moment.
            if self._must_call or stamp not in (None, self._stamp):
                self._stamp, self._must_call = stamp, False
                self._on_change()

    def _read_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def __enter__(self) -> "FileWatcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wake.set()
        self._thread.join()
