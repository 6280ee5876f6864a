"""A running camera: opened and followed in its own thread, with retries when refused."""

import math
import threading
from dataclasses import dataclass, replace
from functools import partial

from co3d.engine.camera import Camera
from co3d.engine.engine import Engine
from co3d.engine.metrics import TrackMetrics
from co3d.engine.regions import SharedReader, name_region
from co3d.engine.results import Results, SourceChanged, TrackEnded, TrackState
from co3d.engine.track import Track
from co3d.engine.track_states import StateKeeper
from co3d.errors import Co3dError, EngineFullError, OutputError, StreamError
from co3d.runtime import Snapshot
from co3d.video import SourceState, VideoFrame, VideoReader
from co3d.video.framing import Crop, Framing
from co3d.video.irregularities import Irregularities
from co3d.video.packet_ring import PacketRing
from co3d.video.source import LIVE_MAX_HOLD_SECONDS


@dataclass(frozen=True)
class CameraStatus:
    """The status of a camera.

    Attributes:
        camera: the camera.
        state: the state of its source; None for files, and before the first attempt to open it.
        metrics: its track's metrics; None before the track has joined.
        irregularities: jumps back in time and changes of size of its source.
        has_ended: whether it has ended. error: why it ended, if with an error.
    """

    camera: Camera
    state: SourceState | None
    metrics: TrackMetrics | None
    irregularities: Irregularities
    has_ended: bool
    error: Exception | None


class _StoppedError(Exception):
    """Ends an attempt to connect after `FollowedCamera.stop`."""


class FollowedCamera:
    """A running camera, in its own thread."""

    def __init__(
        self,
        camera: Camera,
        engine: Engine,
        results: Results,
        ring_seconds: float | None,
        states: StateKeeper | None,
        retry_seconds: float | None,
        snapshot: Snapshot | None,
        *,
        keeps_pictures: bool,
    ) -> None:
        self.camera, self._snapshot, self._keeps_pictures = camera, snapshot, keeps_pictures
        self.own_notices: list[str] = []
        self.state: SourceState | None = None
        self.track: Track | None = None
        self.region_tracks: list[tuple[Crop, Track]] = []
        self.ring = None if ring_seconds is None else PacketRing(ring_seconds)
        self.error: Exception | None = None
        self._engine, self._results, self._states = engine, results, states
        self._reader: VideoReader | None = None
        self._retry_seconds = retry_seconds
        self._stopped, self._is_over = threading.Event(), False
        results.hold()
        self.thread = threading.Thread(
            target=self._run, name=f"co3d follows {camera.name}", daemon=True
        )
        self.thread.start()

    def stop(self, *, leaves_state: bool) -> None:
        """Ask the camera to end; frames that have arrived are still labelled."""
        self._stopped.set()
        track, reader = self.track, self._reader
        may_leave = self._states is not None and not self.camera.regions
        if track is not None and leaves_state and may_leave:
            track.leave_state()
        if reader is not None:
            reader.stop()

    @property
    def notices(self) -> tuple[str, ...]:
        """Irregularities of the source so far; see `VideoReader.notices`."""
        return (*self.own_notices, *(self._reader.notices if self._reader else ()))

    def describe(self) -> CameraStatus:
        """The camera's status."""
        track, reader = self.track, self._reader
        return CameraStatus(
            self.camera,
            self.state,
            None if track is None else track.metrics(),
            Irregularities() if reader is None else reader.irregularities,
            self._is_over and (track is None or track.has_ended),
            self.error if track is None else track.error,
        )

    def _run(self) -> None:
        try:
            while not self._attempt():
                pass
        except _StoppedError:
            if self.track is None:
                self._results.put_news(TrackEnded(self.camera.name))
        except Co3dError as error:
            self.error = error
            self._results.put_news(TrackEnded(self.camera.name, error))
        finally:
            self._is_over = True
            self._results.release()

    def _attempt(self) -> bool:
        """Follow the source to its end; returns False after a wait where the engine was full."""
        try:
            self._follow()
        except EngineFullError as error:
            if self._retry_seconds is None:
                raise
            self.close()
            self.track, self.region_tracks, self._reader = None, [], None
            again = f"tried again every {self._retry_seconds:g} s"
            self._tell(SourceState("refused", f"{error}; {again}"))
            if self._stopped.wait(self._retry_seconds):
                raise _StoppedError from error
            self.state = None
            return False
        return True

    def _follow(self) -> None:
        camera = self.camera
        rate_hz = camera.rate_hz or self._engine.card.rate_hz
        with camera.read(rate_hz, self._note, ring=self.ring) as reader:
            self._reader = reader
            if self._stopped.is_set():
                raise _StoppedError
            left = self._take_state() if reader.is_live and not camera.regions else None
            snapshot = self._snapshot if left is None else left.snapshot
            shows = self._keeps_pictures
            try:
                track = self._join(camera.name, reader, snapshot=snapshot, keeps_pictures=shows)
            except StreamError as error:
                if left is None:
                    raise
                self._note_warm_up(error)
                track, left = self._join(camera.name, reader, keeps_pictures=shows), None
            self.track = track
            try:
                if camera.regions and camera.crop is not None:
                    _check_crop(reader, camera.crop)
                for region in camera.regions:
                    _check_crop(reader, region)
                    region_track = self._join(name_region(camera.name, region), reader)
                    self.region_tracks.append((region, region_track))
            except Co3dError as error:
                if isinstance(error, EngineFullError) and self._retry_seconds is not None:
                    raise
                self.close(error)
                return
            if self.region_tracks:
                track.follow(SharedReader(reader, camera.crop, self.region_tracks))
            else:
                track.follow(reader, None if left is None else partial(self._resume, track, left))

    def close(self, error: Exception | None = None) -> None:
        """End its tracks; waiting frames are dropped."""
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

    def _take_state(self) -> TrackState | None:
        """Restore the state that was saved when the camera was stopped; notice unusable ones."""
        try:
            return None if self._states is None else self._states.take(self.camera)
        except StreamError as error:
            self._note_warm_up(error)
            return None

    def _resume(self, track: Track, left: TrackState, frame: VideoFrame) -> VideoFrame:
        """Handle the first frame after a restart: reset the network if too much time has passed."""
        away_seconds = (frame.received_seconds or math.inf) - left.received_seconds
        keeps = self.camera.gap == "keep"
        most_seconds = LIVE_MAX_HOLD_SECONDS if keeps else left.longest_seconds
        if not 0 <= away_seconds <= most_seconds:
            advice = "" if keeps else f"; gap: keep goes on over {LIVE_MAX_HOLD_SECONDS:g} s"
            self._note_warm_up(
                f"{away_seconds:.1f} s have passed since its last frame, expected "
                f"{most_seconds:.1f} s at most{advice}"
            )
            track.reset()
            return frame
        return replace(frame, gap_seconds=away_seconds) if keeps else frame

    def _note_warm_up(self, reason: object) -> None:
        self.own_notices.append(f"warms up anew after the restart: {reason}")

    def save(self, state: TrackState) -> None:
        """Save the track's state for the next start."""
        try:
            if self._states is not None:
                self._states.save(self.camera, state)
        except OutputError as error:
            self.own_notices.append(f"will warm up anew after a restart: {error}")

    def _note(self, state: SourceState) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._tell(state)

    def _tell(self, state: SourceState) -> None:
        if state != self.state:
            self.state = state
            self._results.put_news(SourceChanged(self.camera.name, state))


def _check_crop(reader: VideoReader, part: Crop) -> None:
    """Check that a crop lies within the pictures."""
    Framing(crop=part).size_of(reader.width, reader.height, "its pictures")
