"""Events and records of them, without rules."""

from dataclasses import replace
from pathlib import Path

from co3d.engine.events import Event, Outbox, Record
from co3d.engine.events.event import Kind, make_event_id
from co3d.engine.events.outputs.output import Delivery


def make_event(camera="door", rule="falls", start=100.0, label="falling", **more) -> Event:
    return Event(
        make_event_id(start), camera, rule, label, start - 90, start - 90,
        start_unix_seconds=start, latest_unix_seconds=start, **more,
    )  # fmt: skip


def open_outbox(folder: Path, **options) -> Outbox:
    """An outbox that commits at once, in the days of `make_event`."""
    return Outbox(folder, **{"commit_seconds": 0.001, "clock": lambda: 1000.0} | options)


def end(event: Event) -> Event:
    return replace(event, cause="below", end_pts_seconds=event.start_pts_seconds + 2)


def make_delivery(folder: Path, event: Event, kind: Kind = "start", number: int = 1) -> Delivery:
    return Delivery(Record(number, kind, event, 100.5), folder)
