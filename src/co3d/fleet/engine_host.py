"""One engine of a fleet: its cameras and tracks, as other processes call them."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

import numpy as np

from co3d.engine import Engine, Prediction, Results, Track, TrackEnded
from co3d.engine.camera import Camera
from co3d.engine.followed_camera import CameraStatus
from co3d.engine.results import ResultItem, TrackState
from co3d.errors import Co3dError, StreamError
from co3d.fleet.inbox import WAITING_ITEMS, Inbox
from co3d.models import ModelCard
from co3d.runtime import Snapshot
from co3d.serving.pictures import decode_jpeg
from co3d.serving.saved_streams import SavedStreams
from co3d.serving.settings import ServingLimits
from co3d.serving.streams import Entry, Streams
from co3d.video.allowance import Allowance


class StreamMovedError(StreamError):
    """The stream is not, or no longer, on this engine."""


@dataclass(frozen=True)
class NetworkFacts:
    """The network that an engine runs, for processes that have no network of their own."""

    card: ModelCard
    labels: tuple[str, ...]
    delay: int
    first_valid_step: int


@dataclass(frozen=True)
class PlacedCamera:
    """A camera of an engine. `restarted`: it lost its state, and is filling its window again."""

    camera: Camera
    is_paused: bool
    restarted: bool


@dataclass(frozen=True)
class EngineReport:
    """An engine's report to the registry.

    Attributes:
        engine: its id, which changes at each start. load: see `Engine.load`.
        is_leaving: it takes no more streams. tracks: how many it has.
        cameras: by id.
    """

    engine: str
    load: float
    is_leaving: bool
    tracks: int
    cameras: Mapping[str, PlacedCamera]


class HandedStates:
    """States of cameras on their way between engines; replaces `TrackStates`, which uses files."""

    def __init__(self) -> None:
        self._states: dict[str, TrackState] = {}

    def save(self, camera: Camera, state: TrackState) -> None:
        """Hold the state of a camera's track."""
        self._states[camera.name] = state

    def take(self, camera: Camera) -> TrackState | None:
        """Remove and return the state of a camera's track."""
        return self._states.pop(camera.name, None)


class EngineHost:
    """An engine whose cameras and tracks are called by name. Thread-safe.

    Args:
        engine: the one that labels; the host closes it.
        places: which sources cameras may open, as for `Allowance`. limits: on pictures and cameras.

    Attributes:
        id: of this engine, which changes at each start.
    """

    def __init__(self, engine: Engine, places: Iterable[str], limits: ServingLimits) -> None:
        self.id = uuid4().hex[:12]
        self._engine, self._limits = engine, limits
        self._states = HandedStates()
        self._cameras = Streams(
            engine, Allowance(places), SavedStreams(None), limits.streams, states=self._states
        )
        self._cameras.listen(self._tell_all)
        self._results = Results(WAITING_ITEMS)
        self._results.hold()
        self._tracks: dict[str, tuple[str, Track]] = {}
        self._restarted: set[str] = set()
        self._inboxes: dict[str, Inbox] = {}
        self._is_leaving = False
        self._lock = threading.Lock()
        threading.Thread(target=self._deliver, name="co3d hands on", daemon=True).start()

    def describe_network(self) -> NetworkFacts:
        """The network that the engine runs."""
        program = self._engine.compiled.program
        labels = self._engine.labels
        return NetworkFacts(self._engine.card, labels, program.delay, program.first_valid_step)

    def report(self) -> EngineReport:
        """The engine's load, tracks and cameras."""
        cameras = {
            key: PlacedCamera(entry.camera, entry.is_paused, entry.camera.name in self._restarted)
            for key, entry, _ in self._cameras.list_all()
        }
        tracks = len(self._tracks)
        return EngineReport(self.id, self._engine.load, self._is_leaving, tracks, cameras)

    # Cameras

    def place(
        self, camera: Camera, state: TrackState | None, *, is_paused: bool, restarted: bool
    ) -> None:
        """Label a camera, continuing from its state on another engine if given.

        Raises:
            EngineFullError: there is no room. TakenError: the camera is here already.
            NotAVideoError: its source is not allowed.
        """
        self._check_stays()
        if state is not None:
            self._states.save(camera, state)
        if restarted:
            self._restarted.add(camera.name)
        try:
            key = self._cameras.add(camera)
        except Co3dError:
            self._states.take(camera)
            self._restarted.discard(camera.name)
            raise
        if is_paused:
            self._cameras.change(key, True, {})

    def change(self, key: str, camera: Camera, is_paused: bool) -> None:
        """Pause or resume a camera, with other settings if they differ."""
        old = self._cameras.find(key).camera
        names = ("rate_hz", "priority", "threshold", "smooth_seconds")
        settings = {
            name: getattr(camera, name)
            for name in names
            if getattr(camera, name) != getattr(old, name)
        }
        self._cameras.change(key, is_paused, settings)

    def remove(self, key: str) -> None:
        """End a camera; UnknownStreamError."""
        self._cameras.remove(key)

    def read(self, key: str) -> tuple[Entry, CameraStatus | None]:
        """A camera without its picture, and its status; UnknownStreamError."""
        return self._strip(*self._cameras.read(key))

    def list_all(self) -> list[tuple[str, Entry, CameraStatus | None]]:
        """All cameras; see `read`."""
        return [
            (key, *self._strip(entry, status)) for key, entry, status in self._cameras.list_all()
        ]

    def read_picture(self, key: str, max_width: int) -> bytes | None:
        """The latest picture of a camera as JPEG; UnknownStreamError."""
        return self._cameras.find(key).picture(max_width)

    def snapshot(self, key: str) -> Snapshot:
        """See `Streams.snapshot`."""
        return self._cameras.snapshot(key)

    def restore(self, key: str, snapshot: Snapshot) -> None:
        """See `Streams.restore`."""
        self._cameras.restore(key, snapshot)

    # Tracks, whose pictures a front pushes

    def join(
        self,
        front: str,
        name: str,
        state: TrackState | None,
        *,
        rate_hz: float | None,
        extra_cost_ms: float,
        restarted: bool,
    ) -> float:
        """Add a track whose results a front takes; returns its rate in Hz.

        Raises:
            EngineFullError: there is no room.
        """
        self._check_stays()
        with self._lock:
            self._inboxes.setdefault(front, Inbox())
            self._restarted |= {name} if restarted else set()
        try:
            track = self._engine.join(
                name,
                rate_hz=rate_hz,
                snapshot=state,
                keeps_pictures=False,
                results=self._results,
                extra_cost_ms=extra_cost_ms,
            )
        except Co3dError:
            self._restarted.discard(name)
            raise
        self._tracks[name] = front, track
        if self._is_leaving:  # it began to leave meanwhile
            _leave(track)
        return track.rate_hz

    def push(self, name: str, picture: np.ndarray | bytes, pts_seconds: float) -> None:
        """Push a track's next picture, or a JPEG of it.

        Raises:
            StreamMovedError: the track is not here.
            NotAVideoError, VideoLimitError: the picture is not usable.
            InputShapeError, StreamError: see `Track.push`.
        """
        track = self._find(name)
        if isinstance(picture, bytes):
            picture = decode_jpeg(picture, self._limits.pixels)
        try:
            track.push(picture, pts_seconds)
        except StreamError as error:
            if self._is_leaving or track.has_ended:
                raise StreamMovedError(f"{name} has left this engine") from error
            raise

    def reset(self, name: str) -> None:
        """See `Track.reset`."""
        self._find(name).reset()

    def close_track(self, name: str) -> None:
        """End a track; does nothing if it has ended."""
        _, track = self._tracks.get(name, ("", None))
        if track is not None:
            track.close()

    def take(self, front: str, wait_seconds: float, *, all_cameras: bool) -> list[ResultItem]:
        """Results of a front's tracks since its last call, and of cameras if wanted."""
        with self._lock:
            inbox = self._inboxes.setdefault(front, Inbox())
        inbox.all_cameras = all_cameras
        return inbox.take(wait_seconds)

    # The end

    def leave(self) -> dict[str, TrackState]:
        """End all streams so that they can continue elsewhere; returns cameras' states by name.

        The states of tracks go to their fronts, as `TrackEnded.state`.
        """
        with self._lock:
            self._is_leaving = True
            tracks = [track for _, track in self._tracks.values()]
        for track in tracks:
            _leave(track)
        cameras = [entry.camera for _, entry, _ in self._cameras.list_all()]
        self._cameras.leave()
        states = ((camera.name, self._states.take(camera)) for camera in cameras)
        return {name: state for name, state in states if state is not None}

    def has_handed_over(self) -> bool:
        """Whether fronts have taken all states of their tracks."""
        with self._lock:
            return not self._tracks and not any(len(one) for one in self._inboxes.values())

    def close_silent(self) -> None:
        """Close the tracks of fronts that take nothing any more."""
        with self._lock:
            silent = {name for name, inbox in self._inboxes.items() if inbox.is_silent()}
            for name in silent:
                del self._inboxes[name]
            tracks = [track for front, track in self._tracks.values() if front in silent]
        for track in tracks:
            track.close()

    def close(self) -> None:
        """End everything at once."""
        self._results.release()
        self._cameras.close()
        self._engine.close()

    def _check_stays(self) -> None:
        if self._is_leaving:
            raise StreamMovedError("this engine takes no more streams: it is leaving the fleet")

    def _find(self, name: str) -> Track:
        found = self._tracks.get(name)
        if found is None:
            raise StreamMovedError(f"{name} is not on this engine")
        return found[1]

    def _strip(
        self, entry: Entry, status: CameraStatus | None
    ) -> tuple[Entry, CameraStatus | None]:
        latest = entry.latest
        entry = Entry(
            entry.camera,
            entry.history,
            is_added=True,
            is_paused=entry.is_paused,
            latest=None if latest is None else _strip_prediction(latest),
            restarted=entry.camera.name in self._restarted,
        )
        if status is not None and status.error is not None:
            status = replace(status, error=Co3dError(str(status.error)))
        return entry, status

    def _mark(self, item: ResultItem) -> ResultItem:
        """An item as it leaves the engine: without pictures, and with `restarted` set."""
        if not isinstance(item, Prediction):
            return item
        item = _strip_prediction(item)
        if item.track not in self._restarted:
            return item
        if item.valid:
            self._restarted.discard(item.track)
            return item
        return replace(item, restarted=True)

    def _tell_all(self, item: ResultItem) -> None:
        """Pass on a camera's result, in the thread that delivers them."""
        item = self._mark(item)
        for inbox in list(self._inboxes.values()):
            if inbox.all_cameras:
                inbox.put(item)

    def _deliver(self) -> None:
        for item in self._results:
            front, _ = self._tracks.get(item.track, ("", None))
            inbox = self._inboxes.get(front)
            if isinstance(item, TrackEnded):
                with self._lock:
                    self._tracks.pop(item.track, None)
                    self._restarted.discard(item.track)
                    if inbox is not None:
                        inbox.put(item)
            elif inbox is not None:
                inbox.put(self._mark(item))


def _leave(track: Track) -> None:
    track.leave_state()
    track.finish()


def _strip_prediction(prediction: Prediction) -> Prediction:
    return replace(prediction, frame=prediction.frame.without_picture())
