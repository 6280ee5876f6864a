"""From labels to events: rules, the outbox that keeps events, and outputs that get them."""

from co3d.engine.events.event import Event, Record
from co3d.engine.events.event_log import Cursor, EventLog
from co3d.engine.events.outbox import Outbox, OutboxHealth
from co3d.engine.events.retention import Retention

__all__ = ["Cursor", "Event", "EventLog", "Outbox", "OutboxHealth", "Record", "Retention"]
