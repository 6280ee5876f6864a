"""`co3d serve`: opens the network and the fleet file, and runs the server."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from co3d import __version__
from co3d.cli.file_watcher import FileWatcher
from co3d.console import say, warn
from co3d.engine import Engine
from co3d.engine.opening import open_engine
from co3d.errors import Co3dError
from co3d.packages import require_package
from co3d.serving.settings import ServerSettings
from co3d.serving.tokens import Person, Role, hash_token, make_token

if TYPE_CHECKING:
    from co3d.engine.fleet_file import NetworkSection

PACKAGES = ("aiortc", "fastapi", "uvicorn", "websockets", "prometheus_client", "pydantic", "yaml")


def serve_network(settings: ServerSettings, model: str, weights: str | None) -> None:
    """Label what visitors send and what a fleet file names, until a signal ends it.

    Raises:
        MissingPackageError: a package of the extra "serving" is not installed.
        FleetError, OptionError: the fleet file or a setting cannot work.
        Co3dError: the network cannot be opened.
    """
    for package in PACKAGES:
        require_package(package, extra="serving")
    from co3d.engine.fleet_events import FleetEvents
    from co3d.engine.fleet_file import NetworkSection, read_fleet
    from co3d.serving.run import find_url, open_socket, run_server
    from co3d.serving.service import open_service

    fleet = None if settings.fleet is None else read_fleet(settings.fleet)
    cameras = [] if fleet is None else fleet.list_cameras()
    network = NetworkSection(model=model, weights=weights) if fleet is None else fleet.network
    listener = open_socket(settings)
    # Without a file of tokens, whoever reads what this prints is an operator.
    token, people = make_token(), dict[str, Person]()
    if settings.tokens is None:
        people[hash_token(token)] = Person("operator", Role.OPERATOR)
    engine = _open_engine(network)
    events = None if fleet is None else FleetEvents(fleet, engine, __version__, warn)
    service = open_service(settings, engine, people, events)
    service.streams.configure(cameras)
    service.streams.restore_kept()

    def read_again() -> None:
        assert settings.fleet is not None
        assert fleet is not None
        assert events is not None
        try:
            changed = read_fleet(settings.fleet)
            for key in ("network", "events"):
                if getattr(changed, key) != getattr(fleet, key):
                    warn(f"{settings.fleet}: another section {key} is used after a restart only")
            cameras = changed.list_cameras()
            events.reconfigure(changed)
            service.streams.configure(cameras)
            warn(f"{settings.fleet} was read again: {len(cameras)} cameras")
        except Co3dError as error:
            warn(f"{error}; all stays as it is")

    def say_where() -> None:
        url = find_url(settings, listener)
        say(f"{service.engine.card.name} is served at {url}")
        if settings.tokens is None:
            say(f"to change cameras, open {url}#token={token}")

    with _watch(settings, read_again):
        run_server(service, listener, say_where)


def _open_engine(network: "NetworkSection") -> Engine:
    options = network.model_dump()
    return open_engine(options.pop("model"), **options)


def _watch(
    settings: ServerSettings, read_again: Callable[[], None]
) -> AbstractContextManager[object]:
    return nullcontext() if settings.fleet is None else FileWatcher(settings.fleet, read_again)
