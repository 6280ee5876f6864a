"""The objects that routes use: the engine, its streams and visitors, and access control."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from co3d.engine import Engine
from co3d.engine.events import EventLog
from co3d.engine.fleet_events import FleetEvents
from co3d.serving.browser_sessions import BrowserSessions
from co3d.serving.callers import Callers
from co3d.serving.media.process import MediaProcess
from co3d.serving.media.rtc_visits import RtcVisits
from co3d.serving.saved_streams import SavedStreams
from co3d.serving.settings import ServerSettings
from co3d.serving.streams import Streams
from co3d.serving.tokens import Person, TokenFile
from co3d.serving.visits import Visits
from co3d.video.allowance import Allowance

STUCK_SECONDS = 10.0
GRACE_SECONDS = 1.0
"""For pictures, clips and deliveries of events when the server shuts down."""


@dataclass
class Counters:
    """Counts for `/metrics` since the start."""

    lost_messages: int = 0
    cut_clients: int = 0
    pictures: int = 0
    refused_pictures: int = 0
    late_pictures: int = 0
    subscribers: int = 0


class Progress:
    """Checks that the engine makes progress: pushed frames must be followed by steps.

    Args:
        engine: the one that is watched.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: Mapping[str, tuple[int, int, float]] = {}

    def find_stuck(self) -> list[str]:
        """Tracks that have had pictures for ten seconds or more without a step."""
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
    """All objects that live as long as the server.

    Attributes:
        settings: of the server. engine: the one that labels.
        streams, visits: what it labels. callers: identifies who sends a request.
        media, rtc: WebRTC and frame decoders, in a separate process.
        progress: tells whether the engine steps.
        jpeg_threads: decode visitors' pictures, one thread per core: more would wait for Python's
            lock, and each holds memory of its own.
        fleet_events: makes events of the streams' labels; None without a fleet file.
        log: of events that another process makes; None for none.
        counters: counts since the start.
        is_ending: whether new clients are refused because the server shuts down.
        decodes_later: whether JPEGs are decoded on the engine's machine, not on this one.
    """

    settings: ServerSettings
    engine: Engine
    streams: Streams
    visits: Visits
    callers: Callers
    media: MediaProcess
    rtc: RtcVisits
    progress: Progress
    jpeg_threads: ThreadPoolExecutor
    fleet_events: FleetEvents | None = None
    log: EventLog | None = None
    counters: Counters = field(default_factory=Counters)
    is_ending: bool = False
    decodes_later: bool = False

    @property
    def transports(self) -> tuple[str, ...]:
        """The transports for a visitor's video, best first."""
        return ("webrtc", "webcodecs", "jpeg")

    @property
    def events(self) -> EventLog | None:
        """Events that rules made of labels, here or in another process; None without rules."""
        return self.log if self.fleet_events is None else self.fleet_events.log or self.log

    def close(self) -> None:
        """End all streams and visits, and the engine."""
        self.is_ending = True
        self.media.close()
        self.streams.close()
        self.visits.close()
        self.engine.close()
        self.jpeg_threads.shutdown()
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
    streams: Streams | None = None,
) -> Service:
    """Make a service.

    Args:
        settings: of the server. engine: the one that labels; the service closes it.
        extra: people valid for this run only, by the hash of their token.
        fleet_events: makes events of the streams' labels; the service closes it.
        streams: cameras on a fleet's engines, whose tracks `engine` joins; None for cameras of
            this machine.

    Raises:
        OutputError: the events of `settings.events` cannot be read.
        OptionError: a setting is invalid.
    """
    tokens = TokenFile(settings.tokens, extra)
    cookie_name = "__Host-co3d" if settings.is_secure else "co3d"
    callers = Callers(
        tokens, BrowserSessions(), cookie_name, trusts_machine=settings.tokens is None
    )
    limits = settings.limits
    decodes_later = streams is not None
    if streams is None:
        allowance, saved = Allowance(settings.allowed_sources), SavedStreams(settings.state)
        streams = Streams(engine, allowance, saved, limits.streams, fleet_events)
    visits = Visits(engine, limits.sessions)
    media = MediaProcess(list(settings.ice_servers), limits.pixels)
    return Service(
        settings,
        engine,
        streams,
        visits,
        callers,
        media,
        RtcVisits(media, visits),
        Progress(engine),
        ThreadPoolExecutor(os.cpu_count() or 1, "co3d jpeg"),
        fleet_events=fleet_events,
        log=None if settings.events is None else EventLog(settings.events),
        decodes_later=decodes_later,
    )
