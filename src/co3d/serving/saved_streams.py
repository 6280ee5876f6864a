"""Streams that operators added, saved in the state folder to survive a restart."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from co3d.console import warn
from co3d.engine.camera import Camera
from co3d.files import make_folder, output_file, read_small
from co3d.video.allowance import Allowance

FILE_NAME = "streams.json"
MAX_BYTES = 1 << 22
SETTINGS = tuple(one.name for one in fields(Camera) if one.name != "allowance")


class SavedStreams:
    """The file of added streams. Only its owner may read it, because addresses hold passwords.

    Args:
        folder: of the server's state; None saves nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            make_folder(folder, choice="--state")
        self._path = None if folder is None else folder / FILE_NAME

    def load(self, allowance: Allowance) -> Iterator[tuple[Camera, bool]]:
        """Cameras, and whether each is paused; an unusable file is ignored with a warning.

        Args:
            allowance: which sources they may open from now on.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            for entry in json.loads(read_small(self._path, MAX_BYTES)):
                settings = {name: entry[name] for name in SETTINGS if name in entry}
                if settings.get("crop") is not None:
                    settings["crop"] = tuple(settings["crop"])
                yield Camera(**settings, allowance=allowance), bool(entry["is_paused"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            warn(f"cannot read {self._path}: {error}; streams added before are left out")

    def save(self, streams: Iterable[tuple[Camera, bool]]) -> None:
        """Write all streams; OutputError if they cannot be written."""
        if self._path is None:
            return
        entries = [
            {**{name: getattr(camera, name) for name in SETTINGS}, "is_paused": is_paused}
            for camera, is_paused in streams
        ]
        with output_file(self._path) as temporary:
            temporary.chmod(0o600)
            temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
