"""`co3d serve`: open the network and the fleet file, and run the server."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from co3d import __version__
from co3d.cli.file_watcher import FileWatcher
from co3d.console import say, warn
from co3d.engine.opening import open_engine
from co3d.errors import Co3dError
from co3d.packages import require_package
from co3d.serving.settings import ServerSettings
from co3d.serving.tokens import Person, Role, hash_token, make_token

PACKAGES = ("aiortc", "fastapi", "uvicorn", "websockets", "prometheus_client", "pydantic", "yaml")


def serve_network(
    settings: ServerSettings, model: str, weights: str | None, labels: Path | None
) -> None:
    """Label what visitors send and what a fleet file names, until a signal ends it.

    Raises:
        MissingPackageError: a package of the extra "serving" is not installed.
        FleetError, OptionError: the fleet file or a setting is invalid.
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
    network = NetworkSection(model=model, weights=weights, labels=labels and str(labels))
    keywords = (network if fleet is None else fleet.network).list_keywords()
    listener = open_socket(settings)
    # Without a token file, whoever reads the token printed here becomes an operator.
    token, people = make_token(), dict[str, Person]()
    if settings.tokens is None:
        people[hash_token(token)] = Person("operator", Role.OPERATOR)
    engine = open_engine(**keywords)
    events = None if fleet is None else FleetEvents(fleet, engine, __version__, warn)
    service = open_service(settings, engine, people, events)
    service.streams.configure(cameras)
    service.streams.restore_saved()

    def read_again() -> None:
        assert settings.fleet is not None
        assert fleet is not None
        assert events is not None
        try:
            changed = read_fleet(settings.fleet)
            for key in ("network", "events"):
                if getattr(changed, key) != getattr(fleet, key):
                    warn(f"{settings.fleet}: changes in section {key} take effect after a restart")
            cameras = changed.list_cameras()
            events.reconfigure(changed)
            service.streams.configure(cameras)
            warn(f"{settings.fleet} was reloaded: {len(cameras)} cameras")
        except Co3dError as error:
            warn(f"{error}; nothing was changed")

    def say_where() -> None:
        url = find_url(settings, listener)
        say(f"{service.engine.card.name} is served at {url}")
        if settings.tokens is None:
            say(f"to change cameras, open {url}#token={token}")

    with _watch(settings, read_again):
        run_server(service, listener, say_where)


def _watch(
    settings: ServerSettings, read_again: Callable[[], None]
) -> AbstractContextManager[object]:
    return nullcontext() if settings.fleet is None else FileWatcher(settings.fleet, read_again)
