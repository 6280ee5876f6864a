"""A fleet in the test's own process: two engines, a registry, and a front."""

import pickle
import time
from collections.abc import Callable, Iterator

import pytest

from co3d.engine import Engine, open_labeller
from co3d.fleet.engine_host import EngineHost
from co3d.fleet.registry import EngineLostError, Registry
from co3d.serving.settings import ServingLimits

PLACES = ("http://127.0.0.0/8",)


class Handle:
    """A handle to an engine that copies all values as a network does, and that a test can cut."""

    def __init__(self, host: EngineHost) -> None:
        self.host, self.is_cut = host, False

    def __getattr__(self, name: str):
        method = getattr(self.host, name)

        def call(*arguments, **options):
            if self.is_cut:
                raise EngineLostError("its process is gone")
            arguments, options = pickle.loads(pickle.dumps((arguments, options)))
            given = method(*arguments, **options)
            if self.is_cut:
                raise EngineLostError("its process is gone")
            return pickle.loads(pickle.dumps(given))

        return call


class Fleet:
    """Engines, which report to the registry when a test calls `report`."""

    def __init__(self, compiled, card) -> None:
        self._network = compiled, card
        self.registry = Registry()
        self.handles: list[Handle] = []

    def add_engine(self, max_streams: int | None = None) -> Handle:
        engine = Engine(*self._network, workers=1, load_limit=None, max_streams=max_streams)
        self.handles.append(Handle(EngineHost(engine, PLACES, ServingLimits())))
        self.report()
        return self.handles[-1]

    def report(self) -> None:
        for handle in self.handles:
            if not handle.is_cut:
                self.registry.take_report(handle, handle.host.report(), None)


@pytest.fixture(scope="session")
def network():
    labeller = open_labeller("camera_motion", weights="random", backend="torch")
    return labeller.compiled, labeller.card


@pytest.fixture
def fleet(network) -> Iterator[Fleet]:
    made = Fleet(*network)
    yield made
    for handle in made.handles:
        handle.host.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait up to ten seconds for another thread."""

    def wait(is_so: Callable[[], bool]) -> None:
        for _ in range(2000):
            if is_so():
                return
            time.sleep(0.005)
        raise AssertionError("it did not come about")

    return wait
