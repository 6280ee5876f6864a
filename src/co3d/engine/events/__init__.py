"""Events: rules that make them of labels, the outbox that stores them, outputs that get them."""

from co3d.engine.events.event import Event, Record
from co3d.engine.events.event_log import Cursor, EventLog
from co3d.engine.events.outbox import Outbox, OutboxHealth
from co3d.engine.events.retention import Retention
from co3d.engine.events.rule import ClipSpan, Rule
from co3d.engine.events.rule_book import RuleBook
from co3d.engine.events.schedule import Schedule, Span

__all__ = [
    "ClipSpan",
    "Cursor",
    "Event",
    "EventLog",
    "Outbox",
    "OutboxHealth",
    "Record",
    "Retention",
    "Rule",
    "RuleBook",
    "Schedule",
    "Span",
]
