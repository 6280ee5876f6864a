"""Runs the events of a fleet file: its rules, their outbox, and deliveries to its outputs."""

import time
from collections.abc import Callable

from co3d.engine.cameras import CameraWatch
from co3d.engine.engine import Engine
from co3d.engine.events import EventLog, Outbox, RuleBook
from co3d.engine.events.courier import Courier
from co3d.engine.events.outbox import NoticeListener
from co3d.engine.events.outputs.output import Output
from co3d.engine.events.service import EventService, View, find_ring_seconds
from co3d.engine.fleet_file import FleetFile
from co3d.engine.fleet_outputs import OutputSection
from co3d.engine.results import ResultItem
from co3d.errors import Co3dError

Pairs = tuple[tuple[str, str], ...]
COURIER_SECONDS = 0.3
POLL_SECONDS = 0.02


class FleetEvents:
    """Makes, stores and delivers events of cameras, as configured in a fleet file.

        events = FleetEvents(fleet, engine)
        watch = CameraWatch(engine, events.take, ring_seconds=0.0)
        events.attach(watch)
        ...
        watch.close()
        events.finish(grace_seconds=5.0)
        events.close()

    Without rules it opens nothing.

    Args:
        fleet: the file. engine: labels its cameras.
        version: co3d's version, for outputs that report it.
        on_notice: called with a sentence when something fails, and when it works again.

    Raises:
        FleetError: a rule names an unknown label, or a secret is missing.
        OutputError: the folder for events cannot be used.
        MissingPackageError: an output's package is not installed.
    """

    def __init__(
        self,
        fleet: FleetFile,
        engine: Engine,
        version: str = "",
        on_notice: NoticeListener = lambda _: None,
    ) -> None:
        self._engine, self._version, self._on_notice = engine, version, on_notice
        self._folder, self._retention = fleet.events.path, fleet.events.to_retention()
        self._watch: CameraWatch | None = None
        self._outbox: Outbox | None = None
        self._service: EventService | None = None
        self._couriers: dict[str, tuple[OutputSection, Pairs, Courier]] = {}
        self._ring_seconds = 0.0
        self.reconfigure(fleet)

    @property
    def log(self) -> EventLog | None:
        """The log of all events; None while there are no rules."""
        return None if self._outbox is None else self._outbox.log

    def attach(self, watch: CameraWatch) -> None:
        """Use the packets of these cameras for pictures and clips."""
        self._watch = watch
        watch.keep_packets(self._ring_seconds)

    def take(self, item: ResultItem) -> None:
        """Process a prediction, a change of a source or the end of a track; never waits."""
        if self._service is not None:
            self._service.take(item)

    def reconfigure(self, fleet: FleetFile) -> None:
        """Use the rules and outputs of this file from now on; unchanged ones keep running.

        Raises:
            FleetError, MissingPackageError, OutputError: as above; then nothing is changed.
        """
        fleet.check_labels(self._engine.labels)
        rules = fleet.list_rules()
        opened = self._open_outputs(fleet)
        try:
            self._use_rules(fleet)
        except Co3dError:
            for output in opened.values():
                output.close()
            raise
        self._use_outputs(fleet, opened)
        self._ring_seconds = find_ring_seconds(rules) or 0.0
        if self._watch is not None:
            self._watch.keep_packets(self._ring_seconds)

    def request_stop(self) -> None:
        """End events as "stopped" from now on; safe to call from a signal handler."""
        if self._service is not None:
            self._service.request_stop()

    def finish(self, grace_seconds: float) -> None:
        """End all events, make their pictures, and deliver records within the grace time."""
        if self._service is None or self._outbox is None:
            return
        until = time.monotonic() + grace_seconds
        self._service.close(grace_seconds)
        self._outbox.flush(grace_seconds)
        couriers = [courier for _, _, courier in self._couriers.values()]
        while time.monotonic() < until and not all(courier.is_done for courier in couriers):
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Stop deliveries and close the outbox; undelivered records wait for the next start."""
        self.finish(0.0)
        self._stop([courier for _, _, courier in self._couriers.values()])
        if self._outbox is not None:
            self._outbox.close()

    def _use_rules(self, fleet: FleetFile) -> None:
        rules = fleet.list_rules()
        if self._service is not None:
            self._service.replace_rules(rules)
            return
        if not rules:
            return
        book = RuleBook(rules, self._engine.labels, self._engine.card.activation)
        self._outbox = Outbox(self._folder, self._retention, on_notice=self._on_notice)
        self._service = EventService(book, self._outbox, self._find_view, self._on_notice)

    def _open_outputs(self, fleet: FleetFile) -> dict[str, Output]:
        """Open the outputs that are new or changed, by name."""
        opened: dict[str, Output] = {}
        for section in fleet.outputs if fleet.rules or self._outbox else ():
            pairs = tuple(fleet.list_pairs(section))
            if self._couriers.get(section.name, (None, None))[:2] != (section, pairs):
                opened[section.name] = section.open(pairs, self._version)
        return opened

    def _use_outputs(self, fleet: FleetFile, opened: dict[str, Output]) -> None:
        if self._outbox is None:
            return
        wanted = {section.name for section in fleet.outputs}
        gone = [name for name in self._couriers if name not in wanted or name in opened]
        self._stop([self._couriers.pop(name)[2] for name in gone])
        self._outbox.set_outputs(wanted)
        for section in fleet.outputs:
            output = opened.get(section.name)
            if output is not None:
                courier = Courier(
                    section.name,
                    output,
                    self._outbox,
                    section.to_filter(),
                    on_notice=self._on_notice,
                )
                pairs = tuple(fleet.list_pairs(section))
                self._couriers[section.name] = (section, pairs, courier)

    def _stop(self, couriers: list[Courier]) -> None:
        for courier in couriers:
            courier.request_stop()
        until = time.monotonic() + COURIER_SECONDS
        for courier in couriers:
            courier.close(max(0.0, until - time.monotonic()))

    def _find_view(self, camera: str) -> View | None:
        found = None if self._watch is None else self._watch.find_ring(camera)
        if found is None:
            return None
        return View(found[1], found[0].rotate, found[0].flip)


def check_outputs(fleet: FleetFile, version: str = "") -> dict[str, Co3dError | None]:
    """Check each output without an event; returns by name why it cannot deliver, or None."""
    found: dict[str, Co3dError | None] = {}
    for section in fleet.outputs:
        found[section.name] = _find_fault(lambda one=section: one.open((), version))
    return found


def _find_fault(open_output: Callable[[], Output]) -> Co3dError | None:
    try:
        output = open_output()
        try:
            output.check()
        finally:
            output.close()
    except Co3dError as error:
        return error
    return None
