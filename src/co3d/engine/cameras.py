"""Labels several cameras with one engine; each camera has its own thread and track."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from co3d.engine.camera import Camera
from co3d.engine.engine import Engine
from co3d.engine.followed_camera import CameraStatus, FollowedCamera
from co3d.engine.results import ResultItem, Results, TrackEnded
from co3d.engine.track_states import StateKeeper
from co3d.errors import OptionError, StreamError
from co3d.runtime import Snapshot
from co3d.video.packet_ring import PacketRing

CAPACITY = 1024
REFUSED_RETRY_SECONDS = 30.0
"""After this time a camera that the engine refused is opened again, since measured costs change."""

JOIN_SECONDS = 2.0
"""How long closing waits for a camera's thread. A thread that waits for a server ends later."""


class CameraWatch:
    """Labels several sources with one engine.

        with CameraWatch(engine) as watch:
            watch.start(Camera("door", "rtsp://10.0.0.5/stream"))
            for item in watch:
                print(item)

    Iterating yields predictions (`track` names the camera), changes of sources (`SourceChanged`),
    and the end of each camera (`TrackEnded`), until no camera runs. If the consumer is too slow,
    the oldest predictions of live cameras are dropped.

    Args:
        engine: labels the cameras.
        listener: called with every item, including those that are dropped; see `Results`.
        ring_seconds: for how long packets of each camera are kept (see `find_ring`); None for none.
        states: saves the states of live cameras when they are stopped, and restores them at the
            next start; None saves none. States of cameras with regions are not saved.
        retry_seconds: after this time a camera that the engine refused is opened again; None ends
            it.
        keeps_pictures: as for `Engine.join`; predictions must then be consumed soon.
    """

    def __init__(
        self,
        engine: Engine,
        listener: Callable[[ResultItem], None] | None = None,
        ring_seconds: float | None = None,
        states: StateKeeper | None = None,
        retry_seconds: float | None = None,
        *,
        keeps_pictures: bool = False,
    ) -> None:
        self._engine, self._ring_seconds, self._states = engine, ring_seconds, states
        self._retry_seconds, self._keeps_pictures = retry_seconds, keeps_pictures
        self._results = Results(CAPACITY, listener)
        self._running: dict[str, FollowedCamera] = {}
        self._lock = threading.Lock()

    @property
    def lost_predictions(self) -> int:
        """Predictions that were dropped because the consumer was too slow."""
        return self._results.lost

    def hold(self) -> None:
        """Keep the iteration open while no camera runs, until `release`."""
        self._results.hold()

    def release(self) -> None:
        """Undo `hold`."""
        self._results.release()

    def start(self, camera: Camera, snapshot: Snapshot | None = None) -> None:
        """Open a camera and label it, from a snapshot if one is given; an error ends the camera.

        Raises:
            OptionError: a camera of this name is running.
        """
        with self._lock:
            if camera.name in self._running:
                raise OptionError(f"cannot start camera {camera.name}: one of that name runs")
            self._running[camera.name] = FollowedCamera(
                camera,
                self._engine,
                self._results,
                self._ring_seconds,
                self._states,
                self._retry_seconds,
                snapshot,
                keeps_pictures=self._keeps_pictures,
            )

    def stop(self, name: str) -> None:
        """End a camera and wait until its name is free; an unknown name is ignored."""
        with self._lock:
            running = self._running.pop(name, None)
        if running is not None:
            running.stop(leaves_state=False)
            running.thread.join(JOIN_SECONDS)
            running.close()

    def replace_all(self, cameras: Iterable[Camera]) -> None:
        """Run exactly these cameras; those that run already with the same settings go on."""
        wanted = {camera.name: camera for camera in cameras}
        self._results.hold()  # else the iteration may end between the last camera and the next
        try:
            for name, running in list(self._running.items()):
                if wanted.get(name) != running.camera:
                    self.stop(name)
            for name, camera in wanted.items():
                if name not in self._running:
                    self.start(camera)
        finally:
            self._results.release()

    def statuses(self) -> Mapping[str, CameraStatus]:
        """The status of all cameras by name, including those that have ended."""
        with self._lock:
            running = list(self._running.values())
        return {one.camera.name: one.describe() for one in running}

    def snapshot(self, name: str) -> Snapshot:
        """Copy the state of a camera's network.

        Raises:
            StreamError: it has not joined, or has ended.
        """
        with self._lock:
            running = self._running.get(name)
        if running is None or running.track is None:
            raise StreamError(f"cannot copy {name}: it is not labelled now; start it before")
        return running.track.snapshot()

    def list_notices(self, name: str) -> tuple[str, ...]:
        """Irregularities of a camera's source so far; see `VideoReader.notices`."""
        with self._lock:
            running = self._running.get(name)
        return () if running is None else running.notices

    def find_ring(self, name: str) -> tuple[Camera, PacketRing] | None:
        """A camera and the ring of its latest packets; None if it is not running or keeps none."""
        running = self._running.get(name)
        if running is None or running.ring is None:
            return None
        return running.camera, running.ring

    def keep_packets(self, seconds: float) -> None:
        """Change for how long packets are kept, of all cameras that keep packets."""
        with self._lock:
            self._ring_seconds = seconds
            for running in self._running.values():
                if running.ring is not None:
                    running.ring.seconds = seconds

    def request_stop(self) -> None:
        """Ask all cameras to end and save their states; safe to call from a signal handler."""
        for running in list(self._running.values()):
            running.stop(leaves_state=True)

    def close(self) -> None:
        """End all cameras and wait for them."""
        self.request_stop()
        for name in list(self._running):
            self.stop(name)

    def __iter__(self) -> Iterator[ResultItem]:
        for item in self._results:
            if isinstance(item, TrackEnded) and item.state is not None:
                with self._lock:
                    running = self._running.get(item.track)
                if running is not None:
                    running.save(item.state)
            yield item

    def __enter__(self) -> "CameraWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
