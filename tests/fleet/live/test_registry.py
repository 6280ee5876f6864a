"""Which engine has which camera when engines fill up, leave or die, and when the registry dies."""

from dataclasses import replace

import pytest

from co3d.engine.camera import Camera
from co3d.engine.results import TrackState
from co3d.errors import EngineFullError
from co3d.fleet.engine_host import EngineReport, PlacedCamera
from co3d.fleet.registry import EngineLostError, Registry
from co3d.serving.streams import TakenError, UnknownStreamError

DOOR, YARD = (Camera(name, f"rtsp://10.0.0.5/{name}") for name in ("door", "yard"))
STATE = TrackState(None, 1e9, 0.5)  # type: ignore[arg-type]


class FakeEngine:
    """An engine with room for a number of cameras."""

    def __init__(self, name: str, load: float, room: int = 9) -> None:
        self.name, self.load, self.room = name, load, room
        self.cameras: dict[str, PlacedCamera] = {}
        self.states: dict[str, TrackState | None] = {}
        self.is_lost = False
        self.copy = None

    def place(self, camera, state, *, is_paused, restarted):
        if self.is_lost:
            raise EngineLostError("gone")
        if len(self.cameras) >= self.room:
            raise EngineFullError("full")
        self.cameras[camera.name] = PlacedCamera(camera, is_paused, restarted)
        self.states[camera.name] = state

    def change(self, key, camera, is_paused):
        self.cameras[key] = replace(self.cameras[key], camera=camera, is_paused=is_paused)

    def remove(self, key):
        del self.cameras[key]

    def tell(self, registry: Registry) -> tuple[str, ...]:
        report = EngineReport(self.name, self.load, False, 0, dict(self.cameras))
        self.copy = registry.take_report(self, report, self.copy)
        for key in self.copy.drop:
            self.remove(key)
        return self.copy.drop


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(clock):
    return Registry(clock)


@pytest.fixture
def engines(registry):
    made = [FakeEngine("a", 0.3), FakeEngine("b", 0.1)]
    for one in made:
        one.tell(registry)
    return made


def test_a_camera_goes_to_the_engine_with_the_least_load(registry, engines):
    assert registry.add(DOOR) == "door"
    assert [set(one.cameras) for one in engines] == [set(), {"door"}]
    with pytest.raises(TakenError):
        registry.add(DOOR)


def test_a_full_engine_refuses_and_the_next_is_asked(registry, engines):
    engines[1].room = 0
    registry.add(DOOR)
    assert set(engines[0].cameras) == {"door"}
    engines[0].room = 1
    with pytest.raises(EngineFullError):
        registry.add(YARD)
    assert set(registry.list_all()) == {"door"}


def test_cameras_of_a_leaving_engine_continue_from_their_states(registry, engines):
    registry.add(DOOR)
    engines[1].remove("door")
    registry.leave("b", {"door": STATE})
    assert engines[0].states == {"door": STATE}
    assert not engines[0].cameras["door"].restarted


@pytest.mark.parametrize("has_room", [True, False])
def test_a_report_that_is_late_does_not_bring_a_leaving_engine_back(
    registry, engines, clock, has_room
):
    registry.add(DOOR)
    engines[0].room = 9 * has_room
    on_its_way = EngineReport("b", 0.1, False, 0, dict(engines[1].cameras))
    registry.leave("b", {"door": STATE})
    assert registry.take_report(engines[1], on_its_way, engines[1].copy).drop == ("door",)
    assert [engine for engine, _, _ in registry.list_engines()] == ["a"]
    engines[0].room = 9
    clock.seconds += 2
    engines[0].tell(registry)
    clock.seconds += 2
    engines[0].tell(registry)
    registry.update_cameras()
    assert engines[0].states == {"door": STATE}
    assert not registry.find("door").restarted


def test_cameras_of_a_lost_engine_start_again_elsewhere_and_say_so(registry, engines, clock):
    registry.add(DOOR)
    engines[1].is_lost = True
    clock.seconds += 2
    engines[0].tell(registry)
    clock.seconds += 2
    registry.update_cameras()
    assert engines[0].cameras["door"].restarted
    assert engines[0].states == {"door": None}
    assert registry.find("door").restarted
    # Once its window is full there, `restarted` is reset.
    engines[0].cameras["door"] = PlacedCamera(DOOR, False, False)
    engines[0].tell(registry)
    assert not registry.find("door").restarted


def test_a_silent_engine_that_returns_drops_cameras_placed_elsewhere(registry, engines, clock):
    registry.add(DOOR)
    clock.seconds += 2
    engines[0].tell(registry)
    clock.seconds += 2
    registry.update_cameras()
    assert engines[1].tell(registry) == ("door",)
    assert set(engines[0].cameras) == {"door"}


def test_a_camera_without_room_waits_for_it(registry, engines, clock):
    registry.add(DOOR)
    engines[0].room = 0
    clock.seconds += 2
    engines[0].tell(registry)
    clock.seconds += 2
    registry.update_cameras()
    assert registry.count_waiting() == 1
    assert "room" in (registry.find("door").cause or "")
    engines[0].room = 1
    registry.update_cameras()
    assert registry.count_waiting() == 0
    assert registry.find("door").cause is None


def test_a_restarted_registry_recovers_from_the_engines(registry, engines, clock):
    registry.add(DOOR)
    registry.add(YARD)
    registry.change("yard", True, {})
    for one in engines:
        one.tell(registry)
    # The engine that had both is lost with the registry.
    lost, kept = engines[1], engines[0]
    assert set(lost.cameras) == {"door", "yard"}
    another = Registry(clock)
    kept.tell(another)
    assert set(another.list_all()) == {"door", "yard"}
    another.update_cameras()
    assert not kept.cameras  # the other engine may only be slow
    clock.seconds += 4
    kept.tell(another)
    another.update_cameras()
    assert set(kept.cameras) == {"door", "yard"}
    assert kept.cameras["yard"].is_paused
    assert kept.cameras["door"].restarted


def test_a_removed_camera_does_not_come_back(registry, engines):
    registry.add(DOOR)
    late = dict(engines[1].cameras)
    registry.remove("door")
    assert not engines[1].cameras
    engines[1].cameras = late
    assert engines[1].tell(registry) == ("door",)
    with pytest.raises(UnknownStreamError):
        registry.find("door")
