"""What the routes work on: the engine, its streams and visitors, and who may do what."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from co3d.engine import Engine
from co3d.engine.events import EventLog
from co3d.engine.fleet_events import FleetEvents
from co3d.serving.browser_sessions import BrowserSessions
from co3d.serving.callers import Callers
from co3d.serving.kept_streams import KeptStreams
from co3d.serving.media.process import MediaProcess
from co3d.serving.media.rtc_visits import RtcVisits
from co3d.serving.settings import ServerSettings
from co3d.serving.streams import Streams
from co3d.serving.tokens import Person, TokenFile
from co3d.serving.visits import Visits
from co3d.video.allowance import Allowance

STUCK_SECONDS = 10.0
GRACE_SECONDS = 1.0
"""For pictures, clips and deliveries of events when the server ends."""


@dataclass
class Counters:
    """What happened so far, for `/metrics`."""

    lost_messages: int = 0
    cut_clients: int = 0
    pictures: int = 0
    refused_pictures: int = 0
    subscribers: int = 0


class Progress:
    """Whether the engine still steps: frames that come must be followed by steps.

    Args:
        engine: that is watched.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: Mapping[str, tuple[int, int, float]] = {}

    def find_stuck(self) -> list[str]:
        """Tracks that have got pictures for ten seconds or more, and made no step."""
        now, seen, stuck = time.monotonic(), {}, []
        for name, track in self._engine.tracks.items():
            metrics = track.metrics()
            pictures, steps, since = self._seen.get(name, (metrics.pictures, -1, now))
            if steps != metrics.steps or pictures == metrics.pictures:
                pictures, since = metrics.pictures, now
            seen[name] = pictures, metrics.steps, since
            if now - since > STUCK_SECONDS:
                stuck.append(name)
        self._seen = seen
        return stuck


@dataclass
class Service:
    """Everything that lives as long as the server.

    Attributes:
        settings: as it was started with. engine: that labels.
        streams, visits: what it labels. callers: tells who asks.
        media, rtc: WebRTC and decoders, in a process of their own.
        progress: tells whether the engine steps.
        fleet_events: makes events of what streams show; None without a fleet file.
        log: of the events that another process makes; None for none.
        counters: what happened so far.
        is_ending: whether no new client is served any more.
    """

    settings: ServerSettings
    engine: Engine
    streams: Streams
    visits: Visits
    callers: Callers
    media: MediaProcess
    rtc: RtcVisits
    progress: Progress
    fleet_events: FleetEvents | None = None
    log: EventLog | None = None
    counters: Counters = field(default_factory=Counters)
    is_ending: bool = False

    @property
    def transports(self) -> tuple[str, ...]:
        """How a visitor's video may come, best first."""
        return ("webrtc", "webcodecs", "jpeg")

    @property
    def events(self) -> EventLog | None:
        """What rules made of labels, here or in another process; None without."""
        return self.log if self.fleet_events is None else self.fleet_events.log or self.log

    def close(self) -> None:
        """End all streams and visits, and the engine."""
        self.is_ending = True
        self.media.close()
        self.streams.close()
        self.visits.close()
        self.engine.close()
        if self.fleet_events is not None:
            self.fleet_events.finish(GRACE_SECONDS)
            self.fleet_events.close()
        if self.log is not None:
            self.log.close()


def open_service(
    settings: ServerSettings,
    engine: Engine,
    extra: dict[str, Person] | None = None,
    fleet_events: FleetEvents | None = None,
) -> Service:
    """Make a service.

    Args:
        settings: of the server. engine: that labels; the service closes it.
        extra: people of this run alone, by the hash of their token.
        fleet_events: makes events of what streams show; the service closes it.

    Raises:
        OutputError: the events of `settings.events` cannot be read.
        OptionError: a setting cannot work.
    """
    tokens = TokenFile(settings.tokens, extra)
    cookie_name = "__Host-co3d" if settings.is_secure else "co3d"
    callers = Callers(
        tokens, BrowserSessions(), cookie_name, trusts_machine=settings.tokens is None
    )
    limits = settings.limits
    allowance = Allowance(settings.allowed_sources)
    kept = KeptStreams(settings.state)
    visits = Visits(engine, limits.sessions)
    media = MediaProcess(list(settings.ice_servers), limits.pixels)
    return Service(
        settings,
        engine,
        Streams(engine, allowance, kept, limits.streams, fleet_events),
        visits,
        callers,
        media,
        RtcVisits(media, visits),
        Progress(engine),
        fleet_events=fleet_events,
        log=None if settings.events is None else EventLog(settings.events),
    )
