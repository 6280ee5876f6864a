"""Plays recordings as cameras would send them."""

import threading
import time
from collections.abc import Iterator
from functools import partial

from co3d.engine import Engine, Results, Track, TrackEnded
from co3d.engine.camera import Camera
from co3d.video import VideoFrame


class PlayedCamera:
    """A recording's frames, each at its time, again and again until `is_over` is set.

    The next play begins one period after the last frame.

    Args:
        camera: its source is the recording.
        rate_hz: frames per second to sample to.
        is_over: ends the iteration.
    """

    dropped_frames = 0

    def __init__(self, camera: Camera, rate_hz: float, is_over: threading.Event) -> None:
        self._camera, self._rate_hz, self._is_over = camera, rate_hz, is_over
        self.elsewhere_seconds = 0.0

    def __iter__(self) -> Iterator[VideoFrame]:
        began_seconds = time.monotonic()
        while not self._is_over.is_set():
            spent_seconds, due_seconds = self.elsewhere_seconds, began_seconds
            with self._camera.read(self._rate_hz) as reader:
                for frame in reader:
                    self.elsewhere_seconds = spent_seconds + reader.elsewhere_seconds
                    due_seconds = began_seconds + frame.pts_seconds
                    if self._is_over.wait(max(0.0, due_seconds - time.monotonic())):
                        return
                    yield frame
            began_seconds = max(due_seconds + 1 / self._rate_hz, time.monotonic())


class PlayedCameras:
    """Cameras that play their recordings into an engine, each in a thread; close them.

    Args:
        engine: without tracks of others.

    Attributes:
        tracks: of those that have joined.
        errors: with which some of them ended.
    """

    def __init__(self, engine: Engine) -> None:
        self.tracks: list[Track] = []
        self.errors: list[Exception] = []
        self._engine, self._is_over = engine, threading.Event()
        self._results = Results()
        self._results.hold()
        self._threads = [threading.Thread(target=self._take_all, name="co3d plays")]
        self._threads[0].start()

    def join(self, camera: Camera, rate_hz: float) -> None:
        """Let a camera join.

        Raises:
            EngineFullError: the machine has no room for it.
        """
        track = self._engine.join(rate_hz=rate_hz, results=self._results, keeps_pictures=False)
        self.tracks.append(track)
        follow = partial(track.follow, PlayedCamera(camera, rate_hz, self._is_over))
        thread = threading.Thread(target=follow, name="co3d plays")
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """End them."""
        self._is_over.set()
        self._results.release()
        for thread in reversed(self._threads):
            thread.join()

    def _take_all(self) -> None:
        for item in self._results:
            if isinstance(item, TrackEnded) and item.error is not None:
                self.errors.append(item.error)

    def __enter__(self) -> "PlayedCameras":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
