"""States of live tracks in a folder, so that a restart loses no warm-up."""

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from co3d.engine.camera import Camera
from co3d.engine.results import TrackState
from co3d.errors import StreamError
from co3d.files import make_folder
from co3d.models import ModelCard
from co3d.printable import spell_short
from co3d.runtime import Snapshot
from co3d.video import hide_password

_NOTE = "camera"


class TrackStates:
    """Writes what live cameras leave when they are stopped, and gives it back once.

    Each camera has a safetensors file, which appears whole or not at all. With the network's state
    it says whose it is: fingerprint of the program (graphs and weights), card, name, source
    (without password), rate and framing. State of anything else is refused.

    Args:
        folder: made if absent. card: of the network.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, card: ModelCard) -> None:
        make_folder(folder, choice="--state")
        self._folder, self._card = folder, card

    def save(self, camera: Camera, state: TrackState) -> None:
        """Write what a camera's track has left.

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
        """What the camera's track left, which is there no more afterwards; None where nothing is.

        Raises:
            StreamError: it is of another camera or card, or no such file.
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
            with contextlib.suppress(OSError):  # what is no file is left alone
                path.unlink()
        wanted = self._identify(camera)
        changes = [
            f"{name} {spell_short(found.get(name))}, now {spell_short(value)}"
            for name, value in wanted.items()
            if found.get(name) != value
        ]
        if changes:
            raise StreamError(f"its state is of another stream ({'; '.join(changes)})")
        return TrackState(snapshot, *times)

    def _identify(self, camera: Camera) -> dict[str, object]:
        """What must be the same, as JSON gives it back."""
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
