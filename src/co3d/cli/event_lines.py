"""Print events in the terminal as they are committed."""

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from co3d.engine.events import EventLog, Record
    from co3d.engine.fleet_events import FleetEvents

LOOK_SECONDS = 0.1
JOIN_SECONDS = 0.5


class EventScreen(Protocol):
    """What shows events."""

    def show_event(self, record: "Record") -> None:
        """Receive a change of an event, in another thread."""
        ...


class EventLines:
    """Shows records once they are committed, in a separate thread; use it in a `with` block.

    A terminal that blocks delays only this thread.

    Args:
        events: whose records. screen: where to show them.
    """

    def __init__(self, events: "FleetEvents", screen: EventScreen) -> None:
        self._events, self._screen = events, screen
        self._stopping = threading.Event()
        self._number = _read_latest(events)
        self._thread = threading.Thread(target=self._run, name="co3d shows events", daemon=True)

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # standard output was closed by its reader
            is_last = False
            while not is_last:
                is_last = self._stopping.wait(LOOK_SECONDS)
                self._show()

    def _show(self) -> None:
        log = self._events.log
        while log is not None and (records := log.read_records(self._number)):
            for record in records:
                self._number = record.number
                self._screen.show_event(record)

    def __enter__(self) -> "EventLines":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(JOIN_SECONDS)


def _read_latest(events: "FleetEvents") -> int:
    log: EventLog | None = events.log
    return 0 if log is None else log.latest_number


def describe(record: "Record") -> str:
    """A record as one readable line."""
    event = record.event
    what = {
        "start": "begins",
        "update": "goes on",
        "media": "has a picture" if event.clip is None else "has a clip",
        "end": f"is over ({event.cause}) after {_count_seconds(record):.1f} s",
    }[record.kind]
    at = f"{event.latest_pts_seconds:9.3f} s"
    return f"{event.camera}  {at}  event {event.rule}: {event.label} {what}, {event.peak:.1%}"


def _count_seconds(record: "Record") -> float:
    return record.event.latest_pts_seconds - record.event.start_pts_seconds
