"""Assigns a fleet's cameras to engines, and reassigns those of a lost engine."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import uuid4

from co3d.engine.camera import Camera
from co3d.engine.results import TrackState
from co3d.errors import Co3dError, EngineFullError
from co3d.fleet.engine_host import EngineReport, PlacedCamera, StreamMovedError
from co3d.serving.streams import TakenError, UnknownStreamError, make_id

SILENT_SECONDS = 3.0
"""An engine that has not reported for this long is lost. Engines report twice a second."""

FULL = "no engine of the fleet has room for it; it is tried again each second"


class EngineLostError(Co3dError):
    """An engine does not answer any more: its process or its machine is gone."""


class EngineHandle(Protocol):
    """Calls from the registry to an engine; see `EngineHost`. Each may raise EngineLostError."""

    def place(
        self, camera: Camera, state: TrackState | None, *, is_paused: bool, restarted: bool
    ) -> None:
        """See `EngineHost.place`."""
        ...

    def change(self, key: str, camera: Camera, is_paused: bool) -> None:
        """See `EngineHost.change`."""
        ...

    def remove(self, key: str) -> None:
        """See `EngineHost.remove`."""
        ...


@dataclass(frozen=True)
class FleetCamera:
    """A camera of the fleet.

    Attributes:
        engine: the one that labels it; None while none does.
        restarted: it lost its state with an engine. cause: why no engine labels it.
    """

    camera: Camera
    is_paused: bool = False
    engine: str | None = None
    restarted: bool = False
    cause: str | None = None


Table = Mapping[str, FleetCamera]


@dataclass(frozen=True)
class Orders:
    """The registry's answer to an engine's report.

    Attributes:
        registry, version: of the table. table: all cameras of the fleet, from which a restarted
            registry recovers; None if the engine has that version.
        drop: cameras that another engine labels.
    """

    registry: str
    version: int
    table: Table | None
    drop: tuple[str, ...]


@dataclass
class _Known:
    handle: Any
    report: EngineReport
    seen_seconds: float


class Registry:
    """Knows the engines and cameras of a fleet. Thread-safe.

    It stores nothing on disk: each engine has a copy of the table, and a restarted registry
    recovers from the engines' reports.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._id, self._version = uuid4().hex[:12], 0
        self._clock, self._began_seconds = clock, clock()
        self._engines: dict[str, _Known] = {}
        self._cameras: dict[str, FleetCamera] = {}
        self._states: dict[str, TrackState] = {}
        self._left: set[str] = set()  # each start of an engine has another id
        self._lock = threading.RLock()

    # Engines

    def take_report(self, handle: Any, report: EngineReport, copy: Orders | None) -> Orders:
        """Record an engine's report.

        Args:
            handle: an `EngineHandle` to call the engine by.
            copy: the previous answer to this engine.
        """
        with self._lock:
            if report.engine in self._left:  # it was on its way when the engine left
                return Orders(*self._mark, dict(self._cameras), tuple(report.cameras))
            self._engines[report.engine] = _Known(handle, report, self._clock())
            is_new = copy is None or copy.registry != self._id  # this registry is new to the engine
            if is_new and copy is not None:
                for key, one in (copy.table or {}).items():
                    self._set(key, self._cameras.get(key, one))
            for key, placed in report.cameras.items():
                self._note(report.engine, key, placed, may_add=is_new)
            own = {key for key, one in self._cameras.items() if one.engine == report.engine}
            drop = tuple(key for key in report.cameras if key not in own)
            is_current = copy is not None and (copy.registry, copy.version) == self._mark
            table = copy.table if copy is not None and is_current else dict(self._cameras)
            return Orders(*self._mark, table, drop)

    def list_engines(self) -> list[tuple[str, Any, float]]:
        """Ids, handles and loads of the engines that take streams, the least loaded first."""
        with self._lock:
            self._forget_silent()
            known = [one for one in self._engines.values() if not one.report.is_leaving]
            known.sort(key=self._rank)
            return [(one.report.engine, one.handle, one.report.load) for one in known]

    def leave(self, engine: str, states: Mapping[str, TrackState]) -> None:
        """Remove an engine; its cameras continue elsewhere from `states`, by camera name."""
        with self._lock:
            self._engines.pop(engine, None)
            self._left.add(engine)
            for key, one in self._cameras.items():
                if one.engine == engine:
                    state = states.get(one.camera.name)
                    if state is not None:
                        self._states[key] = state
                    self._set(key, replace(one, engine=None))
        self.update_cameras()

    def update_cameras(self) -> None:
        """Remove silent engines, and place the cameras that have no engine."""
        with self._lock:
            self._forget_silent()
            unplaced = [key for key, one in self._cameras.items() if one.engine is None]
        for key in unplaced:
            try:
                self._place(key)
            except EngineFullError:
                with self._lock:
                    if key in self._cameras:
                        self._set(key, replace(self._cameras[key], cause=FULL))
            except Co3dError as error:
                with self._lock:
                    if key in self._cameras:
                        self._set(key, replace(self._cameras[key], cause=str(error)))

    # Cameras

    def add(self, camera: Camera) -> str:
        """Place a camera on the least loaded engine that has room; returns its id.

        Raises:
            TakenError: a camera of its name exists.
            EngineFullError: no engine has room.
            NotAVideoError: its source is not allowed.
        """
        key = make_id(camera.name)
        with self._lock:
            if key in self._cameras:
                raise TakenError(f"cannot add {camera.name}: a stream of that name exists")
            self._set(key, FleetCamera(camera))
        try:
            self._place(key)
        except BaseException:
            with self._lock:
                self._drop(key)
            raise
        return key

    def change(self, key: str, is_paused: bool | None, settings: dict[str, Any]) -> None:
        """See `Streams.change`."""
        with self._lock:
            one = self.find(key)
            paused = one.is_paused if is_paused is None else is_paused
            camera = replace(one.camera, **settings)
            self._set(key, replace(one, camera=camera, is_paused=paused))
        handle = self.find_handle(key)
        if handle is not None:
            with suppress(EngineLostError):  # its next engine gets the change
                handle.change(key, camera, paused)

    def remove(self, key: str) -> None:
        """End a camera and forget it; UnknownStreamError."""
        with self._lock:
            self.find(key)
            handle = self.find_handle(key)
            self._drop(key)
        if handle is not None:
            with suppress(EngineLostError, UnknownStreamError):  # it ended with its engine
                handle.remove(key)

    def find(self, key: str) -> FleetCamera:
        """A camera by its id; UnknownStreamError."""
        one = self._cameras.get(key)
        if one is None:
            raise UnknownStreamError(f"no stream is called {key!r}; GET /v1/streams lists them")
        return one

    def find_handle(self, key: str) -> Any:
        """The handle of a camera's engine; None while it has none. UnknownStreamError."""
        known = self._engines.get(self.find(key).engine or "")
        return None if known is None else known.handle

    def list_all(self) -> dict[str, FleetCamera]:
        """All cameras by id."""
        with self._lock:
            return dict(self._cameras)

    def count_waiting(self) -> int:
        """How many cameras have no engine."""
        return sum(one.engine is None for one in self.list_all().values())

    @property
    def _mark(self) -> tuple[str, int]:
        return self._id, self._version

    def _place(self, key: str) -> None:
        """Ask one engine after another; EngineFullError if none takes the camera."""
        full: Co3dError | None = None
        for engine, handle, _ in self.list_engines():
            with self._lock:
                one, state = self.find(key), self._states.get(key)
                if one.engine is not None:
                    return
                # Assigned before the call, else the engine's report of it would be refused.
                self._set(key, replace(one, engine=engine))
            try:
                handle.place(one.camera, state, is_paused=one.is_paused, restarted=one.restarted)
            except (EngineFullError, StreamMovedError, EngineLostError) as error:
                full = error if isinstance(error, EngineFullError) else full
                self._take_back(key, engine)
                continue
            except TakenError:  # the engine has it already
                return
            except BaseException:
                self._take_back(key, engine)
                raise
            with self._lock:
                self._states.pop(key, None)
                if key in self._cameras:
                    self._set(key, replace(self._cameras[key], cause=None))
            return
        raise full or EngineFullError("cannot add a stream: the fleet has no engine")

    def _rank(self, one: _Known) -> tuple[float, int]:
        """Sort key: load rounded to a tenth, then number of streams, since reported loads lag."""
        cameras = sum(camera.engine == one.report.engine for camera in self._cameras.values())
        return round(one.report.load, 1), one.report.tracks + cameras

    def _take_back(self, key: str, engine: str) -> None:
        with self._lock:
            one = self._cameras.get(key)
            if one is not None and one.engine == engine:
                self._set(key, replace(one, engine=None))

    def _note(self, engine: str, key: str, placed: PlacedCamera, *, may_add: bool) -> None:
        """Assign a camera to the engine that reports it, unless it was removed or moved."""
        one = self._cameras.get(key)
        if one is None and not may_add:
            return
        if one is None or one.engine not in self._engines:
            found = FleetCamera(placed.camera, placed.is_paused, engine, placed.restarted)
            self._set(key, found)
        elif one.engine == engine and one.restarted != placed.restarted:
            self._cameras[key] = replace(one, restarted=placed.restarted)

    def _forget_silent(self) -> None:
        now = self._clock()
        for engine, known in list(self._engines.items()):
            if now - known.seen_seconds > SILENT_SECONDS:
                del self._engines[engine]
        if now - self._began_seconds > SILENT_SECONDS:  # before that, engines may still report
            for key, one in self._cameras.items():
                if one.engine is not None and one.engine not in self._engines:
                    self._set(key, replace(one, engine=None, restarted=True))

    def _set(self, key: str, one: FleetCamera) -> None:
        self._cameras[key] = one
        self._version += 1

    def _drop(self, key: str) -> None:
        self._cameras.pop(key, None)
        self._states.pop(key, None)
        self._version += 1
