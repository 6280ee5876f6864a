"""A server over a small network, in the test's own process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from co3d.engine import Engine, open_labeller
from co3d.engine.fleet_events import FleetEvents
from co3d.engine.fleet_file import FleetFile
from co3d.runtime import CompiledProgram
from co3d.serving.service import Service, open_service
from co3d.serving.settings import ServerSettings
from support.people import PEOPLE
from support.videos import write_video

Opener = Callable[..., Service]


@pytest.fixture(scope="session")
def network():
    labeller = open_labeller("camera_motion", weights="random", backend="torch")
    return labeller.compiled, labeller.card


@pytest.fixture
def open_server(network: tuple[CompiledProgram, object]) -> Iterator[Opener]:
    """Makes services; all are closed after the test."""
    opened: list[Service] = []

    def make(
        load_limit: float | None = None,
        fleet: FleetFile | None = None,
        max_streams: int | None = None,
        **settings,
    ) -> Service:
        compiled, card = network
        engine = Engine(compiled, card, workers=1, load_limit=load_limit, max_streams=max_streams)
        events = None if fleet is None else FleetEvents(fleet, engine)
        opened.append(open_service(ServerSettings(**settings), engine, PEOPLE, events))
        return opened[-1]

    yield make
    for service in opened:
        service.close()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("serving") / "door.mp4", 24)
