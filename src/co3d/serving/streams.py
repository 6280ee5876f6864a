"""The server's streams: cameras of the fleet file, and those that operators add."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from co3d.engine import Engine, Prediction, SourceChanged, TrackEnded
from co3d.engine.camera import Camera
from co3d.engine.cameras import REFUSED_RETRY_SECONDS, CameraWatch
from co3d.engine.fleet_events import FleetEvents
from co3d.engine.followed_camera import CameraStatus
from co3d.engine.results import ResultItem
from co3d.engine.track_states import StateKeeper
from co3d.errors import EngineFullError, OptionError, SourceNotFoundError
from co3d.printable import make_printable
from co3d.runtime import Snapshot
from co3d.serving.history import LabelHistory
from co3d.serving.pictures import encode_jpeg
from co3d.serving.saved_streams import SavedStreams
from co3d.video import hide_password
from co3d.video.allowance import Allowance

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MOST_WIDTHS = 8
LEAVING_SECONDS = 3.0
Listener = Callable[[ResultItem], None]


class UnknownStreamError(SourceNotFoundError):
    """No stream has this id."""


class TakenError(OptionError):
    """A stream of that name exists."""


def make_id(name: str) -> str:
    """A stream's id in URLs: its name, or a digest if the name has characters to encode."""
    if PLAIN.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "stream"
    return f"{plain}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


@dataclass
class Entry:
    """A stream as the server knows it.

    Attributes:
        camera: its source and settings. is_added: by an operator, not by the fleet file.
        is_paused: its source is not read.
        restarted: it lost its state with a fleet's engine, and is filling its window again.
        latest: the newest prediction, while the source is there.
        history: its labels over the last hours.
    """

    camera: Camera
    history: LabelHistory
    is_added: bool = False
    is_paused: bool = False
    latest: Prediction | None = None
    restarted: bool = False
    _jpegs: dict[int, tuple[Prediction, bytes]] = field(default_factory=dict)

    def picture(self, max_width: int) -> bytes | None:
        """The latest picture as JPEG; None before there is one."""
        latest = self.latest
        if latest is None or not latest.frame.image.size:
            return None
        return self.encode(latest, max_width)

    def clean(self, cause: str) -> str:
        """A cause as viewers may see it: with the stream's name in place of its address."""
        hidden = hide_password(self.camera.source)
        return make_printable(hide_password(cause).replace(hidden, self.camera.name))

    def encode(self, prediction: Prediction, max_width: int) -> bytes:
        """The picture of a prediction as JPEG; clients that ask for the same one share it."""
        kept = self._jpegs.get(max_width)
        if kept is None or kept[0] is not prediction:
            if len(self._jpegs) >= MOST_WIDTHS:
                self._jpegs.clear()
            kept = prediction, encode_jpeg(prediction.frame.image, max_width)
            self._jpegs[max_width] = kept
        return kept[1]


class Streams:
    """Runs the cameras, and passes their results to listeners.

    Args:
        engine: the one that labels. allowance: which sources operators may add.
        saved: where added streams survive a restart. most: the most streams at a time.
        events: makes events of the labels; None for none.
        states: receives the streams' states in `leave`; None to discard them.

    Attributes:
        watch: the running cameras. listeners: functions called with every result; see `listen`.
    """

    def __init__(
        self,
        engine: Engine,
        allowance: Allowance,
        saved: SavedStreams,
        most: int,
        events: FleetEvents | None = None,
        states: StateKeeper | None = None,
    ) -> None:
        self.watch = CameraWatch(
            engine,
            None if events is None else events.take,
            ring_seconds=None if events is None else 0.0,
            states=states,
            retry_seconds=REFUSED_RETRY_SECONDS,
            keeps_pictures=True,
        )
        if events is not None:
            events.attach(self.watch)
        self._engine, self._allowance, self._saved, self._most = engine, allowance, saved, most
        self._entries: dict[str, Entry] = {}
        self._by_name: dict[str, Entry] = {}
        self.listeners: frozenset[Listener] = frozenset()
        self._lock = threading.RLock()
        self.watch.hold()
        self._thread = threading.Thread(target=self._deliver, name="co3d streams", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether predictions are being delivered."""
        return self._thread.is_alive()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call a function with every result, in a separate thread; returns a function to stop."""
        self.listeners = self.listeners | {listener}

        def stop() -> None:
            self.listeners = self.listeners - {listener}

        return stop

    def configure(self, cameras: Iterable[Camera]) -> None:
        """Run exactly these cameras, and those that were added.

        Unchanged cameras continue undisturbed, and paused ones stay paused.
        """
        wanted = {make_id(camera.name): camera for camera in cameras}
        with self._lock:
            for key, entry in list(self._entries.items()):
                if not entry.is_added and wanted.get(key) != entry.camera:
                    self._drop(key)
            for key, camera in wanted.items():
                if key in self._entries and self._entries[key].is_added:
                    self._drop(key)  # the fleet file wins over an added stream
                if key not in self._entries:
                    self._start(key, Entry(camera, self._make_history(camera)))

    def restore_saved(self) -> None:
        """Start the streams that were added before a restart."""
        for camera, is_paused in self._saved.load(self._allowance):
            key = make_id(camera.name)
            with self._lock:
                if key not in self._entries:
                    entry = Entry(camera, self._make_history(camera), True, is_paused)
                    self._start(key, entry)

    def add(self, camera: Camera) -> str:
        """Add a stream whose source an operator named; return its id.

        Raises:
            TakenError: a stream of that name exists.
            NotAVideoError: the source is not allowed.
            EngineFullError: there is no room for it.
            OutputError: it cannot be saved for the next start.
        """
        self._allowance.pin(camera.source)
        camera, key = replace(camera, allowance=self._allowance), make_id(camera.name)
        with self._lock:
            if key in self._entries:
                raise TakenError(f"cannot add {camera.name}: a stream of that name exists")
            if len(self._entries) >= self._most:
                raise EngineFullError(
                    f"cannot add {camera.name}: {self._most} streams exist already"
                )
            self._engine.join(f"room for {key}", rate_hz=camera.rate_hz).close()
            self._start(key, Entry(camera, self._make_history(camera), is_added=True))
            self._save()
        return key

    def change(self, key: str, is_paused: bool | None, settings: dict[str, Any]) -> None:
        """Pause or resume a stream, and change its settings, which restarts it if they differ.

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
            self._save()

    def remove(self, key: str) -> None:
        """End and forget a stream; one of the fleet file comes back when that file changes.

        Raises:
            UnknownStreamError, OutputError
        """
        with self._lock:
            self.find(key)
            self._drop(key)
            self._save()

    def snapshot(self, key: str) -> Snapshot:
        """Copy the state of a stream's network; UnknownStreamError, StreamError."""
        return self.watch.snapshot(self.find(key).camera.name)

    def restore(self, key: str, snapshot: Snapshot) -> None:
        """Continue a stream from a snapshot.

        Raises:
            UnknownStreamError: no stream has this id.
            StreamError: the snapshot is of another network.
        """
        with self._lock:
            entry = self.find(key)
            # Joining with the snapshot raises at once if it does not fit.
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
        """Ids, entries, and each one's status (None if paused)."""
        statuses = self.watch.statuses()
        with self._lock:
            entries = list(self._entries.items())
        return [(key, entry, statuses.get(entry.camera.name)) for key, entry in entries]

    def read(self, key: str) -> tuple[Entry, CameraStatus | None]:
        """A stream and its status (None if paused); UnknownStreamError."""
        entry = self.find(key)
        return entry, self.watch.statuses().get(entry.camera.name)

    def leave(self) -> None:
        """End all streams, and wait until `states` has received their states."""
        with self._lock:
            running = {name for name, one in self.watch.statuses().items() if not one.has_ended}
        have_ended = threading.Event()

        def note(item: ResultItem) -> None:
            if isinstance(item, TrackEnded):
                running.discard(item.track)
            if not running:
                have_ended.set()

        stop = self.listen(note)
        self.watch.request_stop()
        if running:
            have_ended.wait(LEAVING_SECONDS)
        stop()
        self.close()

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

    def _save(self) -> None:
        self._saved.save((e.camera, e.is_paused) for e in self._entries.values() if e.is_added)

    def _make_history(self, camera: Camera) -> LabelHistory:
        return LabelHistory(camera.rate_hz or self._engine.card.rate_hz)

    def _deliver(self) -> None:
        for item in self.watch:
            entry = self._by_name.get(item.track)
            if entry is None:
                continue  # the stream was removed meanwhile
            _note(entry, item)
            for listener in self.listeners:
                listener(item)


def _note(entry: Entry, item: ResultItem) -> None:
    if isinstance(item, Prediction):
        entry.latest = item
        if item.label is not None:
            entry.history.add(item.label, item.frame.received_seconds or time.time())
    elif not (isinstance(item, SourceChanged) and item.state.phase == "live"):
        entry.latest = None  # a label does not hold once its source is gone
