"""The server's streams: cameras of the fleet file, and those that operators add."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from co3d.engine import Engine, Prediction, SourceChanged
from co3d.engine.camera import Camera
from co3d.engine.cameras import CameraWatch
from co3d.engine.fleet_events import FleetEvents
from co3d.engine.followed_camera import CameraStatus
from co3d.engine.results import ResultItem
from co3d.errors import EngineFullError, OptionError, SourceNotFoundError
from co3d.printable import make_printable
from co3d.runtime import Snapshot
from co3d.serving.history import LabelHistory
from co3d.serving.kept_streams import KeptStreams
from co3d.serving.pictures import encode_jpeg
from co3d.video import hide_password
from co3d.video.allowance import Allowance

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MOST_WIDTHS = 8
Listener = Callable[[ResultItem], None]


class UnknownStreamError(SourceNotFoundError):
    """No stream has this id."""


class TakenError(OptionError):
    """A stream of that name is there."""


def make_id(name: str) -> str:
    """What a stream is called in addresses: its name, or a digest where that has odd letters."""
    if PLAIN.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "stream"
    return f"{plain}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


@dataclass
class Entry:
    """A stream as the server knows it.

    Attributes:
        camera: its source and settings. is_added: by an operator, not by the fleet file.
        is_paused: nothing is read of it.
        latest: the newest prediction, while the source is there.
        history: its labels over the last hours.
    """

    camera: Camera
    history: LabelHistory
    is_added: bool = False
    is_paused: bool = False
    latest: Prediction | None = None
    _jpegs: dict[int, tuple[Prediction, bytes]] = field(default_factory=dict)

    def picture(self, max_width: int) -> bytes | None:
        """The latest picture as JPEG; None before there is one."""
        latest = self.latest
        if latest is None or not latest.frame.image.size:
            return None
        return self.encode(latest, max_width)

    def clean(self, cause: str) -> str:
        """A cause as viewers may see it: with the stream's name for its address."""
        hidden = hide_password(self.camera.source)
        return make_printable(hide_password(cause).replace(hidden, self.camera.name))

    def encode(self, prediction: Prediction, max_width: int) -> bytes:
        """The picture of a prediction as JPEG; those who ask for the same one share it."""
        kept = self._jpegs.get(max_width)
        if kept is None or kept[0] is not prediction:
            if len(self._jpegs) >= MOST_WIDTHS:
                self._jpegs.clear()
            kept = prediction, encode_jpeg(prediction.frame.image, max_width)
            self._jpegs[max_width] = kept
        return kept[1]


class Streams:
    """Runs the cameras, and tells whoever listens of what they give.

    Args:
        engine: that labels. allowance: what operators may add.
        kept: where streams that were added survive a restart. most: streams at a time.
        events: makes events of what they show; None for none.

    Attributes:
        watch: the cameras at work. listeners: who is told of all that comes; see `listen`.
    """

    def __init__(
        self,
        engine: Engine,
        allowance: Allowance,
        kept: KeptStreams,
        most: int,
        events: FleetEvents | None = None,
    ) -> None:
        if events is None:
            self.watch = CameraWatch(engine, keeps_pictures=True)
        else:
            self.watch = CameraWatch(engine, events.take, 0.0, keeps_pictures=True)
            events.attach(self.watch)
        self._engine, self._allowance, self._kept, self._most = engine, allowance, kept, most
        self._entries: dict[str, Entry] = {}
        self._by_name: dict[str, Entry] = {}
        self.listeners: frozenset[Listener] = frozenset()
        self._lock = threading.RLock()
        self.watch.hold()
        self._thread = threading.Thread(target=self._deliver, name="co3d streams", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether predictions are handed on."""
        return self._thread.is_alive()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call a function with all that comes, in a thread of its own; how to stop that."""
        self.listeners = self.listeners | {listener}

        def stop() -> None:
            self.listeners = self.listeners - {listener}

        return stop

    def configure(self, cameras: Iterable[Camera]) -> None:
        """Run just these cameras beside those that were added.

        Those that did not change go on undisturbed, and those that are paused stay so.
        """
        wanted = {make_id(camera.name): camera for camera in cameras}
        with self._lock:
            for key, entry in list(self._entries.items()):
                if not entry.is_added and wanted.get(key) != entry.camera:
                    self._drop(key)
            for key, camera in wanted.items():
                if key in self._entries and self._entries[key].is_added:
                    self._drop(key)  # the file has the last word
                if key not in self._entries:
                    self._start(key, Entry(camera, self._make_history(camera)))

    def restore_kept(self) -> None:
        """Start the streams that were added before a restart."""
        for camera, is_paused in self._kept.load(self._allowance):
            key = make_id(camera.name)
            with self._lock:
                if key not in self._entries:
                    entry = Entry(camera, self._make_history(camera), True, is_paused)
                    self._start(key, entry)

    def add(self, camera: Camera) -> str:
        """Add a stream whose source an operator named; its id.

        Raises:
            TakenError: the name is taken.
            NotAVideoError: the source is not allowed.
            EngineFullError: there is no room for it.
            OutputError: it cannot be kept for the next start.
        """
        self._allowance.pin(camera.source)
        camera, key = replace(camera, allowance=self._allowance), make_id(camera.name)
        with self._lock:
            if key in self._entries:
                raise TakenError(f"cannot add {camera.name}: a stream of that name is there")
            if len(self._entries) >= self._most:
                raise EngineFullError(f"cannot add {camera.name}: {self._most} streams are there")
            self._engine.join(f"room for {key}", rate_hz=camera.rate_hz).close()
            self._start(key, Entry(camera, self._make_history(camera), is_added=True))
            self._keep()
        return key

    def change(self, key: str, is_paused: bool | None, settings: dict[str, Any]) -> None:
        """Pause or go on, and change settings of a stream; it starts anew where they differ.

        Raises:
            UnknownStreamError, OutputError
        """
        with self._lock:
            entry = self.find(key)
            camera = replace(entry.camera, **settings)
            paused = entry.is_paused if is_paused is None else is_paused
            if camera == entry.camera and paused == entry.is_paused:
                return
            self._drop(key)
            history = entry.history if settings == {} else self._make_history(camera)
            self._start(key, Entry(camera, history, entry.is_added, paused))
            self._keep()

    def remove(self, key: str) -> None:
        """End a stream and forget it; one of the fleet file comes back when that changes.

        Raises:
            UnknownStreamError, OutputError
        """
        with self._lock:
            self.find(key)
            self._drop(key)
            self._keep()

    def snapshot(self, key: str) -> Snapshot:
        """Copy the state of a stream's network; UnknownStreamError, StreamError."""
        return self.watch.snapshot(self.find(key).camera.name)

    def restore(self, key: str, snapshot: Snapshot) -> None:
        """Let a stream go on from a snapshot; UnknownStreamError, StreamError.

        Raises:
            StreamError: the snapshot is of another network.
        """
        with self._lock:
            entry = self.find(key)
            # Which tells now whether it fits.
            self._engine.join(f"room for {key}", policy="every", snapshot=snapshot).close()
            self._drop(key)
            self._start(key, replace(entry, is_paused=False, latest=None), snapshot)

    def find(self, key: str) -> Entry:
        """A stream by its id; UnknownStreamError."""
        entry = self._entries.get(key)
        if entry is None:
            raise UnknownStreamError(f"no stream is called {key!r}; GET /v1/streams lists them")
        return entry

    def list_all(self) -> list[tuple[str, Entry, CameraStatus | None]]:
        """Ids, entries, and how each is doing (None of those that are paused)."""
        statuses = self.watch.statuses()
        with self._lock:
            entries = list(self._entries.items())
        return [(key, entry, statuses.get(entry.camera.name)) for key, entry in entries]

    def close(self) -> None:
        """End all streams."""
        self.watch.close()
        self.watch.release()
        self._thread.join(2.0)

    def _start(self, key: str, entry: Entry, snapshot: Snapshot | None = None) -> None:
        self._entries[key] = self._by_name[entry.camera.name] = entry
        if not entry.is_paused:
            self.watch.start(entry.camera, snapshot)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        self._by_name.pop(entry.camera.name, None)
        self.watch.stop(entry.camera.name)

    def _keep(self) -> None:
        self._kept.save((e.camera, e.is_paused) for e in self._entries.values() if e.is_added)

    def _make_history(self, camera: Camera) -> LabelHistory:
        return LabelHistory(camera.rate_hz or self._engine.card.rate_hz)

    def _deliver(self) -> None:
        for item in self.watch:
            entry = self._by_name.get(item.track)
            if entry is None:
                continue  # it was removed meanwhile
            _note(entry, item)
            for listener in self.listeners:
                listener(item)


def _note(entry: Entry, item: ResultItem) -> None:
    if isinstance(item, Prediction):
        entry.latest = item
        if item.label is not None:
            entry.history.add(item.label, item.frame.received_seconds or time.time())
    elif not (isinstance(item, SourceChanged) and item.state.phase == "live"):
        entry.latest = None  # a label is not true any more once its source is away
