"""An event: a label that held for a while in front of a camera."""

import os
import time
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, get_args

from co3d.printable import spell_time

Kind = Literal["start", "update", "media", "end"]
KINDS: tuple[Kind, ...] = get_args(Kind)

EndCause = Literal[
    "below", "unknown", "schedule", "reset", "failed", "over", "stopped", "removed", "interrupted"
]
"""Why an event ended:

- below: the label fell below the rule's `end_threshold`.
- unknown: for longer than `hold_seconds` nothing reliable was known: a gap, a window that fills
  again, too few new pictures, or a source that is away.
- schedule: the rule's time of day is over.
- reset: the video started again, so that its times went back.
- failed: the camera ended with an error. over: it ended without one, or was taken out.
- removed: the rule was taken out or changed.
- stopped: the program ended in order. interrupted: it was killed, and the next start found the
  event open; or the disk was full for so long that its end was lost.
"""

_TIMES = {
    "start_unix_seconds": "started_at",
    "latest_unix_seconds": "latest_at",
    "end_unix_seconds": "ended_at",
}
"""Of Python, and as written in JSON."""


@dataclass(frozen=True)
class Event:
    """What is known of an event so far.

    All times are those of the pictures that the network describes: its delay is taken off.

    Attributes:
        id: a UUID whose first 48 bits are the time of its making (version 7), so that ids sort by
            time. It stays the same in all records of the event, after a restart too.
        camera, rule: by name. label: the label, or the name of the group of labels.
        start_pts_seconds: when the label came up, on the source's clock.
        latest_pts_seconds: the latest moment at which it held, as far as is known.
        end_pts_seconds: the same once it is over; None while it goes on.
        start_unix_seconds, latest_unix_seconds, end_unix_seconds: the same as Unix time, by when
            the pictures arrived; None for files, which do not arrive.
        peak, mean: the highest smoothed probability of the label up to now, and the mean, 0 to 1.
        predictions: of how many predictions.
        cause: why it ended; None while it goes on.
        picture: file name of a JPEG of its first moment in the folder for media; None without one.
        clip: file name of a Matroska file around it in the same folder; None without one.
    """

    id: str
    camera: str
    rule: str
    label: str
    start_pts_seconds: float
    latest_pts_seconds: float
    end_pts_seconds: float | None = None
    start_unix_seconds: float | None = None
    latest_unix_seconds: float | None = None
    end_unix_seconds: float | None = None
    peak: float = 0.0
    mean: float = 0.0
    predictions: int = 0
    cause: EndCause | None = None
    picture: str | None = None
    clip: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.cause is None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; Unix times become ISO 8601 in UTC, `started_at` and so on.

        `from_dict` reads them again, without what lies beyond a microsecond.
        """
        values = asdict(self)
        for name, short in _TIMES.items():
            values[short] = _spell_time(values.pop(name))
        for name, value in values.items():
            if isinstance(value, float):
                values[name] = round(value, 6)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Event":
        """The event of which `as_dict` gave these values; keys that it does not know are left."""
        known = {field.name for field in fields(cls)} & values.keys()
        arguments = {name: values[name] for name in known}
        for name, short in _TIMES.items():
            arguments[name] = _read_time(values.get(short))
        return cls(**arguments)


@dataclass(frozen=True)
class Record:
    """One thing that happened to an event, as the outbox keeps and delivers it.

    Attributes:
        number: its place in the outbox, from 1 on; it grows, and is never used twice.
        kind: "start", "update" while it goes on, "media" once a picture or clip is there, "end".
            A clip may come after the end.
        event: what was known of the event then.
        committed_seconds: when it was committed, Unix time.
    """

    number: int
    kind: Kind
    event: Event
    committed_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: `type`, `kind`, `number`, and what the event has."""
        return {
            "type": "event",
            "kind": self.kind,
            "number": self.number,
            "committed_at": _spell_time(self.committed_seconds),
            **self.event.as_dict(),
        }


def make_event_id(unix_seconds: float | None = None) -> str:
    """A new UUID of version 7 (RFC 9562): 48 bits of milliseconds, 74 random ones."""
    milliseconds = int((time.time() if unix_seconds is None else unix_seconds) * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76  # version
    value = value & ~(0x3 << 62) | 2 << 62  # variant
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _spell_time(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else spell_time(unix_seconds, "microseconds")


def _read_time(text: str | None) -> float | None:
    if text is None:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
