"""Cameras on an engine: each is opened, followed, and labelled in a track of its own."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from co3d.engine.engine import Engine
from co3d.engine.metrics import TrackMetrics
from co3d.engine.regions import SharedReader, name_region
from co3d.engine.results import ResultItem, Results, SourceChanged, TrackEnded
from co3d.engine.track import Policy, Track
from co3d.errors import Co3dError, OptionError, StreamError
from co3d.runtime import Snapshot
from co3d.video import SourceState, VideoReader, hide_password, read_video
from co3d.video.allowance import Allowance
from co3d.video.container import RtspTransport
from co3d.video.framing import Crop, Flip, Framing
from co3d.video.packet_ring import PacketRing
from co3d.video.reader import Gap
from co3d.video.source_state import StateListener

CAPACITY = 1024
JOIN_SECONDS = 2.0
"""How long closing waits for a camera's thread; one that waits for a silent server ends later."""


@dataclass(frozen=True)
class Camera:
    """A source to label, and how.

    Attributes:
        name: unique among those that run.
        source: as for `read_video`; its repr hides the password.
        rate_hz: frames per second that the network sees; None for the network's own.
        policy: as for `read_video`; live sources join the engine with it.
        priority: as for `Engine.join`.
        gap, rotate, flip, crop, reconnect_seconds, rtsp_transport, poll_hz, folder_rate_hz: as for
            `read_video`.
        top_k, threshold, smooth_seconds: as for `Engine.join`.
        allowance: as for `read_video`.
        regions: further parts of its turned and mirrored pictures, as `crop`; the network sees each
            in a track of its own (see `name_region`), which costs as much as another camera.
    """

    name: str
    source: str
    rate_hz: float | None = None
    policy: Policy | None = None
    priority: int = 0
    gap: Gap = "reset"
    rotate: int = 0
    flip: Flip | None = None
    crop: Crop | None = None
    reconnect_seconds: float | None = None
    rtsp_transport: RtspTransport = "auto"
    poll_hz: float | None = None
    folder_rate_hz: float = 30.0
    top_k: int | None = None
    threshold: float = 0.0
    smooth_seconds: float = 0.0
    allowance: Allowance | None = None
    regions: tuple[Crop, ...] = ()

    def read(
        self,
        rate_hz: float,
        on_state: StateListener | None = None,
        ring: PacketRing | None = None,
    ) -> VideoReader:
        """Open the source; with regions, pictures are not cropped. See `read_video` for errors."""
        return read_video(
            self.source,
            rate_hz=rate_hz,
            policy=self.policy,
            gap=self.gap,
            rotate=self.rotate,
            flip=self.flip,
            crop=None if self.regions else self.crop,
            ring=ring,
            reconnect_seconds=self.reconnect_seconds,
            rtsp_transport=self.rtsp_transport,
            poll_hz=self.poll_hz,
            folder_rate_hz=self.folder_rate_hz,
            on_state=on_state,
            decoder_threads=1,
            allowance=self.allowance,
        )

    def __repr__(self) -> str:
        return f"Camera({self.name!r}, {hide_password(self.source)!r})"


@dataclass(frozen=True)
class CameraStatus:
    """How a camera is doing.

    Attributes:
        camera: which one.
        state: what its source does; None of files, and before the first attempt to open it.
        metrics: of its track; None before it has joined.
        has_ended: whether nothing more comes of it. error: why it ended, if with an error.
    """

    camera: Camera
    state: SourceState | None
    metrics: TrackMetrics | None
    has_ended: bool
    error: Exception | None


class _StoppedError(Exception):
    """Ends an attempt to connect."""


class _Running:
    """A camera at work, in a thread of its own."""

    def __init__(
        self,
        camera: Camera,
        engine: Engine,
        results: Results,
        ring_seconds: float | None,
        snapshot: Snapshot | None,
        *,
        keeps_pictures: bool,
    ) -> None:
        self.camera, self._snapshot, self._keeps_pictures = camera, snapshot, keeps_pictures
        self.state: SourceState | None = None
        self.track: Track | None = None
        self.region_tracks: list[tuple[Crop, Track]] = []
        self.ring = None if ring_seconds is None else PacketRing(ring_seconds)
        self.error: Exception | None = None
        self._engine, self._results = engine, results
        self._reader: VideoReader | None = None
        self._is_stopped = self._is_over = False
        results.hold()
        self.thread = threading.Thread(
            target=self._run, name=f"co3d follows {camera.name}", daemon=True
        )
        self.thread.start()

    def stop(self) -> None:
        """End soon: what came before is labelled."""
        self._is_stopped = True
        if self._reader is not None:
            self._reader.stop()

    @property
    def notices(self) -> tuple[str, ...]:
        """What is odd about the source so far; see `VideoReader.notices`."""
        return () if self._reader is None else self._reader.notices

    def describe(self) -> CameraStatus:
        """How the camera is doing."""
        track = self.track
        return CameraStatus(
            self.camera,
            self.state,
            None if track is None else track.metrics(),
            self._is_over and (track is None or track.has_ended),
            self.error if track is None else track.error,
        )

    def _run(self) -> None:
        try:
            self._follow()
        except _StoppedError:
            if self.track is None:
                self._results.tell(TrackEnded(self.camera.name))
        except Co3dError as error:
            self.error = error
            self._results.tell(TrackEnded(self.camera.name, error))
        finally:
            self._is_over = True
            self._results.release()

    def _follow(self) -> None:
        camera = self.camera
        rate_hz = camera.rate_hz or self._engine.card.rate_hz
        with camera.read(rate_hz, self._note, self.ring) as reader:
            self._reader = reader
            if self._is_stopped:
                raise _StoppedError
            self.track = self._join(
                camera.name,
                reader,
                snapshot=self._snapshot,
                keeps_pictures=self._keeps_pictures,
            )
            try:
                if camera.regions and camera.crop is not None:
                    _check_part(reader, camera.crop)
                for region in camera.regions:
                    _check_part(reader, region)
                    track = self._join(name_region(camera.name, region), reader)
                    self.region_tracks.append((region, track))
            except Co3dError as error:
                self.close(error)
                return
            if self.region_tracks:
                self.track.follow(SharedReader(reader, camera.crop, self.region_tracks))
            else:
                self.track.follow(reader)

    def close(self, error: Exception | None = None) -> None:
        """End its tracks without what waits."""
        tracks = [self.track, *(track for _, track in self.region_tracks)]
        for track in filter(None, tracks):
            track.close(error)

    def _join(
        self,
        name: str,
        reader: VideoReader,
        *,
        snapshot: Snapshot | None = None,
        keeps_pictures: bool = False,
    ) -> Track:
        camera = self.camera
        return self._engine.join(
            name,
            rate_hz=reader.rate_hz,
            policy="latest" if reader.drops_late else "every",
            priority=camera.priority,
            resets_at_gaps=camera.gap == "reset",
            top_k=camera.top_k,
            threshold=camera.threshold,
            smooth_seconds=camera.smooth_seconds,
            keeps_pictures=keeps_pictures,
            results=self._results,
            snapshot=snapshot,
        )

    def _note(self, state: SourceState) -> None:
        if self._is_stopped:
            raise _StoppedError
        if state != self.state:
            self.state = state
            self._results.tell(SourceChanged(self.camera.name, state))


class CameraWatch:
    """Labels several sources with one engine.

        with CameraWatch(engine) as watch:
            watch.start(Camera("door", "rtsp://10.0.0.5/stream"))
            for item in watch:
                print(item)

    Iterating gives predictions, told apart by their `track`, what sources do (`SourceChanged`), and
    of each camera its end (`TrackEnded`), until no camera runs. Who does not take predictions in
    time loses the oldest ones of live cameras.

    Args:
        engine: that labels.
        listener: of all that iterating gives, and of what is lost there; see `Results`.
        ring_seconds: for how long packets of each camera are kept (see `find_ring`); None for none.
        keeps_pictures: as for `Engine.join`; predictions must then be taken soon.
    """

    def __init__(
        self,
        engine: Engine,
        listener: Callable[[ResultItem], None] | None = None,
        ring_seconds: float | None = None,
        *,
        keeps_pictures: bool = False,
    ) -> None:
        self._engine, self._ring_seconds = engine, ring_seconds
        self._keeps_pictures = keeps_pictures
        self._results = Results(CAPACITY, listener)
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()

    @property
    def lost_predictions(self) -> int:
        """Predictions that nobody took in time."""
        return self._results.lost

    def hold(self) -> None:
        """Let the iteration go on while no camera runs, until `release`."""
        self._results.hold()

    def release(self) -> None:
        """End what `hold` began."""
        self._results.release()

    def start(self, camera: Camera, snapshot: Snapshot | None = None) -> None:
        """Open a camera and label it, from a snapshot on if one is given; what fails ends it.

        Raises:
            OptionError: one of its name runs.
        """
        with self._lock:
            if camera.name in self._running:
                raise OptionError(f"cannot start camera {camera.name}: one of that name runs")
            self._running[camera.name] = _Running(
                camera,
                self._engine,
                self._results,
                self._ring_seconds,
                snapshot,
                keeps_pictures=self._keeps_pictures,
            )

    def stop(self, name: str) -> None:
        """End a camera, and wait until its name is free; nothing where none of that name runs."""
        with self._lock:
            running = self._running.pop(name, None)
        if running is not None:
            running.stop()
            running.thread.join(JOIN_SECONDS)
            running.close()

    def replace_all(self, cameras: Iterable[Camera]) -> None:
        """Run just these cameras: those that run as they should are left alone."""
        wanted = {camera.name: camera for camera in cameras}
        self._results.hold()  # else it may end between the last camera and the next
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
        """How all cameras are doing, by name, those that have ended too."""
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
        """What is odd about the source of a camera so far; see `VideoReader.notices`."""
        with self._lock:
            running = self._running.get(name)
        return () if running is None else running.notices

    def find_ring(self, name: str) -> tuple[Camera, PacketRing] | None:
        """A camera and its latest packets; None where none of that name runs, or keeps some."""
        running = self._running.get(name)
        if running is None or running.ring is None:
            return None
        return running.camera, running.ring

    def keep_packets(self, seconds: float) -> None:
        """Keep the packets of cameras that keep some for so long from now on."""
        with self._lock:
            self._ring_seconds = seconds
            for running in self._running.values():
                if running.ring is not None:
                    running.ring.seconds = seconds

    def request_stop(self) -> None:
        """Let all cameras end soon; may be called by a signal handler."""
        for running in list(self._running.values()):
            running.stop()

    def close(self) -> None:
        """End all cameras and wait for them."""
        self.request_stop()
        for name in list(self._running):
            self.stop(name)

    def __iter__(self) -> Iterator[ResultItem]:
        return iter(self._results)

    def __enter__(self) -> "CameraWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_part(reader: VideoReader, part: Crop) -> None:
    """Refuse a part of the pictures that lies outside of them."""
    Framing(crop=part).size_of(reader.width, reader.height, "its pictures")
