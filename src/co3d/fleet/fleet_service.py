"""The server's routes over a fleet."""

from typing import Any, cast

from co3d.engine import Engine
from co3d.fleet.engine_host import NetworkFacts
from co3d.fleet.fleet_streams import FleetStreams
from co3d.fleet.front import FleetEngine
from co3d.serving.service import Service, open_service
from co3d.serving.settings import ServerSettings
from co3d.serving.streams import Streams
from co3d.serving.tokens import Person


def open_fleet_service(
    settings: ServerSettings,
    registry: Any,
    facts: NetworkFacts,
    extra: dict[str, Person] | None = None,
) -> Service:
    """A service for `make_app`, with a fleet in place of one engine and its cameras.

    Args:
        settings, extra: as for `open_service`. registry: a `Registry`, local or remote.
        facts: the network that its engines run.

    Raises:
        OptionError: a setting is invalid.
    """
    engine = FleetEngine(registry, facts)
    streams = FleetStreams(registry, engine, settings.allowed_sources)
    return open_service(settings, cast(Engine, engine), extra, streams=cast(Streams, streams))
