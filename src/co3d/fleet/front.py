"""A fleet of engines behind the interface of one engine, for the server's routes."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from co3d.engine import Prediction, Results, TrackEnded
from co3d.engine.admission import SourceCost
from co3d.engine.results import ResultItem, TrackState
from co3d.errors import Co3dError, EngineFullError, StreamError
from co3d.fleet.engine_host import NetworkFacts, StreamMovedError
from co3d.fleet.registry import EngineLostError

TAKE_SECONDS = 1.0
MOVING_SECONDS = 10.0
"""How long a stream whose engine is lost or leaves looks for another engine."""

CLOSE_SECONDS = 2 * TAKE_SECONDS
RETRY_SECONDS = 0.25
LOST_SECONDS = 30.0
"""How long an engine that did not answer is not contacted again."""


class Engines(Protocol):
    """The part of the registry that a front uses."""

    def list_engines(self) -> list[tuple[str, Any, float]]:
        """See `Registry.list_engines`."""
        ...


class FleetEngine:
    """Joins tracks on the engines of a fleet, with the interface of `Engine`.

    A track whose engine leaves continues on another one from its state. A track whose engine is
    lost fills its window again on another one, and its predictions say so (`Prediction.restarted`).

    Args:
        engines: lists the engines. facts: the network that they all run.

    Attributes:
        card, labels, compiled: as in `Engine`; `compiled` has only the program's times.
        tracks: empty, because the front steps none itself.
    """

    def __init__(self, engines: Engines, facts: NetworkFacts) -> None:
        self.card, self.labels = facts.card, facts.labels
        times = {"delay": facts.delay, "first_valid_step": facts.first_valid_step}
        self.compiled = SimpleNamespace(program=SimpleNamespace(**times))
        self.tracks: Mapping[str, Any] = {}
        self.step_cost_ms = 0.0
        self.name = uuid4().hex[:8]
        self.engines = engines
        self._links: dict[str, _Link] = {}
        self._lost_seconds: dict[str, float] = {}
        self._listener: Callable[[ResultItem], None] | None = None
        self._closing = threading.Event()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._finder = threading.Thread(
            target=self._look_for_engines, name="co3d links", daemon=True
        )
        self._finder.start()

    @property
    def load(self) -> float:
        """The mean load of the engines that take streams."""
        loads = [load for _, _, load in self.engines.list_engines()]
        return sum(loads) / max(1, len(loads))

    def join(
        self,
        name: str,
        *,
        rate_hz: float | None = None,
        snapshot: TrackState | None = None,
        keeps_pictures: bool = False,  # noqa: ARG002 (pictures stay on the front)
        results: Results,
        extra_cost_ms: float = 0.0,
    ) -> "RemoteTrack":
        """Add a track; see `Engine.join`.

        Raises:
            EngineFullError: no engine has room.
        """
        key = f"{self.name} {next(self._numbers)}"
        track = RemoteTrack(key, name, results, rate_hz, extra_cost_ms, self)
        track.place(snapshot, restarted=False)
        results.join(_do_nothing)
        return track

    def listen_to_cameras(self, listener: Callable[[ResultItem], None] | None) -> None:
        """Call a function with the results of all cameras; None stops that."""
        self._listener = listener

    def find_links(self) -> "list[_Link]":
        """Links to the engines that take streams, the least loaded first."""
        found = []
        now = time.monotonic()
        for engine, handle, _ in self.engines.list_engines():
            if now - self._lost_seconds.get(engine, -math.inf) < LOST_SECONDS:
                continue  # the registry has not noticed yet
            with self._lock:
                link = self._links.get(engine)
                if link is None and not self.is_closed:
                    link = self._links[engine] = _Link(engine, handle, self)
                    link.start()
            if link is not None and not link.is_lost:
                found.append(link)
        return found

    def on_camera_item(self, item: ResultItem) -> None:
        """Receive a result of a camera."""
        if self._listener is not None:
            self._listener(item)

    @property
    def wants_cameras(self) -> bool:
        """Whether somebody listens to cameras."""
        return self._listener is not None

    @property
    def is_closed(self) -> bool:
        """Whether the front is closed."""
        return self._closing.is_set()

    def forget(self, link: "_Link") -> None:
        """A link is over."""
        with self._lock:
            self._lost_seconds[link.engine] = time.monotonic()
            self._links.pop(link.engine, None)

    def close(self) -> None:
        """End all tracks and links; waits at most two seconds for their threads.

        A lost engine may not answer at all.
        """
        with self._lock:
            self._closing.set()
            links = list(self._links.values())
        for link in links:
            for track in list(link.tracks.values()):
                track.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        self._finder.join(CLOSE_SECONDS)
        for link in links:
            link.wait(max(0.0, deadline - time.monotonic()))

    def _look_for_engines(self) -> None:
        """Link to new engines while somebody listens to cameras."""
        while not self.is_closed:
            if self.wants_cameras:
                with suppress(Co3dError):  # the registry is restarting
                    self.find_links()
            self._closing.wait(TAKE_SECONDS)


class RemoteTrack:
    """A track on one of the fleet's engines; `Visit` uses it as a `Track`.

    Attributes:
        name: unique in this front. key: unique in the fleet. rate_hz: frames per second for the
            network.
        source_cost: CPU time spent on this machine, which no engine counts.
    """

    def __init__(
        self,
        key: str,
        name: str,
        results: Results,
        rate_hz: float | None,
        extra_cost_ms: float,
        fleet: FleetEngine,
    ) -> None:
        self.key, self.name, self.rate_hz = key, name, rate_hz or fleet.card.rate_hz
        self.source_cost = SourceCost()
        self._results, self._extra_cost_ms, self._fleet = results, extra_cost_ms, fleet
        self._link: _Link | None = None
        self._is_closed = False
        self._changed = threading.Condition()

    def place(self, state: TrackState | None, *, restarted: bool) -> None:
        """Join the least loaded engine that has room; EngineFullError if none has."""
        full: Co3dError | None = None
        for link in self._fleet.find_links():
            link.tracks[self.key] = self
            try:
                link.handle.join(
                    self._fleet.name,
                    self.key,
                    state,
                    rate_hz=self.rate_hz,
                    extra_cost_ms=self._extra_cost_ms,
                    restarted=restarted,
                )
            except (EngineFullError, StreamMovedError, EngineLostError) as error:
                link.tracks.pop(self.key, None)
                full = error if isinstance(error, EngineFullError) else full
                continue
            except BaseException:
                link.tracks.pop(self.key, None)
                raise
            with self._changed:
                self._link = None if link.is_lost else link
                self._changed.notify_all()
                if self._link is not None:
                    return
        raise full or EngineFullError(
            "cannot label another stream: no engine of the fleet is there"
        )

    def push(self, picture: np.ndarray | bytes, pts_seconds: float) -> None:
        """Push the next picture; see `EngineHost.push`. Waits while the track moves."""
        deadline = time.monotonic() + MOVING_SECONDS
        while not self._is_closed:
            link = self._link
            if link is not None:
                try:
                    link.handle.push(self.key, picture, pts_seconds)
                except (StreamMovedError, EngineLostError):
                    pass
                else:
                    return
            with self._changed:
                if self._link is link and not self._is_closed:
                    self._changed.wait(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                break
        raise StreamError(f"cannot push to {self.name}: it has ended; join again")

    def reset(self) -> None:
        """See `Track.reset`."""
        link = self._link
        if link is not None:
            try:
                link.handle.reset(self.key)
            except (StreamMovedError, EngineLostError):
                return  # the track starts anew on its next engine

    def close(self) -> None:
        """End the track; may be called twice."""
        link = self._link
        self.end(None)
        if link is not None:
            try:
                link.handle.close_track(self.key)
            except EngineLostError:
                return

    def take(self, item: ResultItem) -> None:
        """Receive a result of the track."""
        if isinstance(item, Prediction):
            self._results.put([_rename(item, self.name)], drops_oldest=True)
        elif isinstance(item, TrackEnded):
            if item.error is not None:
                self.end(item.error)
            elif not self._is_closed:
                self.move(item.state, restarted=item.state is None)

    def leave(self, link: "_Link") -> None:
        """Move to another engine if the lost one was this track's."""
        with self._changed:
            if self._link is not link:
                return  # `place` handles it
        self.move(None, restarted=True)

    def move(self, state: TrackState | None, *, restarted: bool) -> None:
        """Move to another engine, in a separate thread."""
        self._link = None
        work = threading.Thread(target=self._move, args=(state, restarted), daemon=True)
        work.start()

    def end(self, error: Exception | None) -> None:
        """Nothing more comes."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        self._results.end(TrackEnded(self.name, error), _do_nothing)

    def _move(self, state: TrackState | None, restarted: bool) -> None:
        deadline = time.monotonic() + MOVING_SECONDS
        while not self._is_closed:
            try:
                self.place(state, restarted=restarted)
                return
            except EngineFullError as error:
                if time.monotonic() > deadline:
                    self.end(error)
                    return
            except Co3dError as error:
                self.end(error)
                return
            time.sleep(RETRY_SECONDS)


class _Link:
    """Takes the results of this front's tracks from one engine, in a separate thread."""

    def __init__(self, engine: str, handle: Any, fleet: FleetEngine) -> None:
        self.engine, self.handle, self._fleet = engine, handle, fleet
        self.tracks: dict[str, RemoteTrack] = {}
        self.is_lost = False
        name = f"co3d takes from {engine}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take."""
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the thread, which ends soon after the front is closed."""
        self._thread.join(seconds)

    def _run(self) -> None:
        fleet = self._fleet
        try:
            while not fleet.is_closed:
                wanted = fleet.wants_cameras
                for item in self.handle.take(fleet.name, TAKE_SECONDS, all_cameras=wanted):
                    self._hand_on(item)
        except EngineLostError:
            self.is_lost = True
            fleet.forget(self)
            for track in list(self.tracks.values()):
                track.leave(self)

    def _hand_on(self, item: ResultItem) -> None:
        track = self.tracks.get(item.track)
        if track is None:
            self._fleet.on_camera_item(item)
            return
        if isinstance(item, TrackEnded):
            self.tracks.pop(item.track, None)
        track.take(item)


def _rename(prediction: Prediction, name: str) -> Prediction:
    return replace(prediction, track=name)


def _do_nothing() -> None:
    """No-op: a front drops its oldest results instead of waiting for room."""
