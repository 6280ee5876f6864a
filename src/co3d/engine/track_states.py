"""Saves the states of live tracks in a folder, so that a restart needs no warm-up."""

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from co3d.engine.camera import Camera
from co3d.engine.results import TrackState
from co3d.errors import StreamError
from co3d.files import make_folder
from co3d.models import ModelCard
from co3d.printable import short_repr
from co3d.runtime import Snapshot
from co3d.video import hide_password

_NOTE = "camera"


class StateKeeper(Protocol):
    """Saves the states of cameras between a stop and the next start."""

    def save(self, camera: Camera, state: TrackState) -> None:
        """Save a camera's state; raises OutputError."""
        ...

    def take(self, camera: Camera) -> TrackState | None:
        """Remove and return a camera's state, or None; raises StreamError if it is unusable."""
        ...


class TrackStates:
    """Saves the states of live cameras in a folder.

    Each camera has a safetensors file, which is written atomically. Besides the network's state it
    holds the fingerprint of the program (graphs and weights), card, name, source (without
    password), rate and framing; a state for which one of these differs is refused.

    Args:
        folder: created if absent. card: the network's card.

    Raises:
        OutputError: the folder cannot be created.
    """

    def __init__(self, folder: Path, card: ModelCard) -> None:
        make_folder(folder, choice="--state")
        self._folder, self._card = folder, card

    def save(self, camera: Camera, state: TrackState) -> None:
        """Save a camera's state.

        Raises:
            OutputError: the file cannot be written.
        """
        note = {
            "identity": self._identify(camera),
            "received_seconds": state.received_seconds,
            "longest_seconds": state.longest_seconds,
        }
        state.snapshot.save(self._path(camera), {_NOTE: json.dumps(note)})

    def take(self, camera: Camera) -> TrackState | None:
        """Read and delete a camera's state; None if there is none.

        Raises:
            StreamError: it belongs to another camera or card, or is damaged.
        """
        path = self._path(camera)
        if not path.exists():
            return None
        try:
            snapshot = Snapshot.load(path)
            try:
                note = json.loads(snapshot.notes[_NOTE])
                found = dict(note["identity"])
                times = float(note["received_seconds"]), float(note["longest_seconds"])
            except (LookupError, TypeError, ValueError, RecursionError) as error:
                raise StreamError(
                    f"cannot restore from {path}: it does not say of which camera it is"
                ) from error
        finally:
            with contextlib.suppress(OSError):  # such as a folder of that name
                path.unlink()
        wanted = self._identify(camera)
        changes = [
            f"{name} {short_repr(found.get(name))}, now {short_repr(value)}"
            for name, value in wanted.items()
            if found.get(name) != value
        ]
        if changes:
            raise StreamError(f"its state is of another stream ({'; '.join(changes)})")
        return TrackState(snapshot, *times)

    def _identify(self, camera: Camera) -> dict[str, object]:
        """The values that must be equal, as JSON returns them."""
        card = json.dumps(asdict(self._card), sort_keys=True)
        return {
            "name": camera.name,
            "source": hide_password(camera.source),
            "rate_hz": camera.rate_hz or self._card.rate_hz,
            "crop": None if camera.crop is None else list(camera.crop),
            "rotate": camera.rotate,
            "flip": camera.flip,
            "card": hashlib.sha256(card.encode()).hexdigest()[:16],
        }

    def _path(self, camera: Camera) -> Path:
        digest = hashlib.sha256(camera.name.encode(errors="surrogatepass")).hexdigest()
        return self._folder / f"{digest[:16]}.safetensors"
