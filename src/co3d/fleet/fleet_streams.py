"""The cameras of a fleet, in place of one server's `Streams`."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from co3d.engine.camera import Camera
from co3d.engine.followed_camera import CameraStatus
from co3d.engine.results import ResultItem
from co3d.errors import StreamError
from co3d.fleet.front import FleetEngine
from co3d.fleet.registry import EngineLostError, FleetCamera
from co3d.runtime import Snapshot
from co3d.serving.history import LabelHistory
from co3d.serving.streams import Entry, Listener, UnknownStreamError
from co3d.video import SourceState
from co3d.video.allowance import Allowance
from co3d.video.irregularities import Irregularities

MOST_ASKED_AT_ONCE = 16


@dataclass
class RemoteEntry(Entry):
    """A camera whose pictures are on its engine's machine."""

    read_picture: Callable[[int], bytes | None] = lambda _width: None

    def picture(self, max_width: int) -> bytes | None:
        """See `Entry.picture`."""
        return self.read_picture(max_width)


class FleetStreams:
    """Cameras, each on the engine that the registry chose; the methods are those of `Streams`.

    Args:
        registry: a `Registry`, local or remote. engine: whose links deliver cameras' results.
        places: which sources cameras may open, as for `Allowance`.

    Attributes:
        is_alive: always true. watch: the counts for `/metrics`.
    """

    def __init__(self, registry: Any, engine: FleetEngine, places: Iterable[str]) -> None:
        self._registry, self._engine = registry, engine
        self._allowance = Allowance(places)
        self._listeners: frozenset[Listener] = frozenset()
        self.is_alive = True
        self.watch = SimpleNamespace(lost_predictions=0)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """See `Streams.listen`. Predictions come without their pictures."""
        self._listeners = self._listeners | {listener}
        self._engine.listen_to_cameras(self._tell)

        def stop() -> None:
            self._listeners = self._listeners - {listener}
            if not self._listeners:
                self._engine.listen_to_cameras(None)

        return stop

    def add(self, camera: Camera) -> str:
        """See `Streams.add`."""
        self._allowance.pin(camera.source)
        return self._registry.add(camera)

    def change(self, key: str, is_paused: bool | None, settings: dict[str, Any]) -> None:
        """See `Streams.change`."""
        self._registry.change(key, is_paused, settings)

    def remove(self, key: str) -> None:
        """See `Streams.remove`."""
        self._registry.remove(key)

    def find(self, key: str) -> Entry:
        """See `Streams.find`."""
        return self.read(key)[0]

    def read(self, key: str) -> tuple[Entry, CameraStatus | None]:
        """See `Streams.read`."""
        one, handle = self._registry.find(key), self._registry.find_handle(key)
        if handle is not None:
            try:
                entry, status = handle.read(key)
            except (EngineLostError, UnknownStreamError):
                pass  # it will be placed soon
            else:
                return self._make_remote(entry, key, handle), status
        return self._describe_waiting(one)

    def list_all(self) -> list[tuple[str, Entry, CameraStatus | None]]:
        """See `Streams.list_all`."""
        handles = [handle for _, handle, _ in self._registry.list_engines()]
        with ThreadPoolExecutor(MOST_ASKED_AT_ONCE) as pool:
            found = {
                key: (self._make_remote(entry, key, handle), status)
                for handle, listed in zip(handles, pool.map(_list_all, handles), strict=True)
                for key, entry, status in listed
            }
        cameras = self._registry.list_all().items()
        described = ((key, found.get(key) or self._describe_waiting(one)) for key, one in cameras)
        return [(key, entry, status) for key, (entry, status) in described]

    def snapshot(self, key: str) -> Snapshot:
        """See `Streams.snapshot`."""
        return self._require_handle(key).snapshot(key)

    def restore(self, key: str, snapshot: Snapshot) -> None:
        """See `Streams.restore`."""
        self._require_handle(key).restore(key, snapshot)

    def close(self) -> None:
        """Do nothing: cameras continue when a front ends."""

    def _require_handle(self, key: str) -> Any:
        handle = self._registry.find_handle(key)
        if handle is None:
            raise StreamError(f"cannot copy {key}: it has no engine now; try again soon")
        return handle

    def _tell(self, item: ResultItem) -> None:
        for listener in self._listeners:
            listener(item)

    def _make_remote(self, entry: Entry, key: str, handle: Any) -> RemoteEntry:
        return RemoteEntry(
            entry.camera,
            entry.history,
            entry.is_added,
            entry.is_paused,
            entry.latest,
            entry.restarted,
            read_picture=lambda width: handle.read_picture(key, width),
        )

    def _describe_waiting(self, one: FleetCamera) -> tuple[Entry, CameraStatus | None]:
        camera = one.camera
        history = LabelHistory(camera.rate_hz or self._engine.card.rate_hz)
        entry = Entry(camera, history, True, one.is_paused, restarted=one.restarted)
        if one.is_paused:
            return entry, None
        cause = one.cause or "it is moving to another engine of the fleet"
        state = SourceState("reconnecting", cause)
        return entry, CameraStatus(
            camera, state, None, Irregularities(), has_ended=False, error=None
        )


def _list_all(handle: Any) -> list[tuple[str, Entry, CameraStatus | None]]:
    try:
        return handle.list_all()
    except EngineLostError:
        return []
