"""An event: a stretch of time in which a label held at a camera."""

import os
import time
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, get_args

from co3d.printable import format_time

Kind = Literal["start", "update", "media", "end"]
KINDS: tuple[Kind, ...] = get_args(Kind)

EndCause = Literal[
    "below", "unknown", "schedule", "reset", "failed", "over", "stopped", "removed", "interrupted"
]
"""Why an event ended:

- below: the label fell below the rule's `end_threshold`.
- unknown: there was no reliable prediction for longer than `hold_seconds`, because of a gap, a
  window that is not full, too few new pictures, or a silent source.
- schedule: the rule's time of day is over.
- reset: the video started again, so that its times went back.
- failed: the camera ended with an error. over: it ended without one, or was removed.
- removed: the rule was removed or changed.
- stopped: the program ended normally. interrupted: it was killed, and the next start found the
  event open; or the disk was full for so long that the end record was lost.
"""

_TIMES = {
    "start_unix_seconds": "started_at",
    "latest_unix_seconds": "latest_at",
    "end_unix_seconds": "ended_at",
}
"""Maps field names to their names in JSON."""


@dataclass(frozen=True)
class Event:
    """An event as far as it is known.

    All times are those of the frames that predictions describe, so that the network's delay is
    subtracted already.

    Attributes:
        id: a UUID of version 7, whose first 48 bits are its time of creation, so that ids sort by
            time. It is the same in all records of the event, also after a restart.
        camera, rule: names. label: the label, or the name of the group of labels.
        start_pts_seconds: when the label began to hold, on the source's clock.
        latest_pts_seconds: the latest moment at which it held.
        end_pts_seconds: the same once the event is over; None while it is open.
        start_unix_seconds, latest_unix_seconds, end_unix_seconds: the same as Unix time of the
            frames' arrival; None for files.
        peak, mean: the highest and the mean smoothed probability of the label so far, 0 to 1.
        predictions: the number of predictions in the mean.
        cause: why it ended; None while it is open.
        picture: file name of a JPEG of its first moment in the media folder; None without one.
        clip: file name of a Matroska video of it in the same folder; None without one.
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
        """Whether it has not ended."""
        return self.cause is None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; Unix times become ISO 8601 in UTC, named `started_at` and so on.

        `from_dict` reads them again; times are rounded to microseconds.
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
        """Make an event from the values of `as_dict`; unknown keys are ignored."""
        known = {field.name for field in fields(cls)} & values.keys()
        arguments = {name: values[name] for name in known}
        for name, short in _TIMES.items():
            arguments[name] = _read_time(values.get(short))
        return cls(**arguments)


@dataclass(frozen=True)
class Record:
    """A change of an event, as the outbox stores and delivers it.

    Attributes:
        number: a serial number, from 1 on, which is never reused.
        kind: "start", "update" while the event is open, "media" when a picture or clip is ready,
            "end". A clip may become ready after the end.
        event: the event as it was known then.
        committed_seconds: when the record was committed, Unix time.
    """

    number: int
    kind: Kind
    event: Event
    committed_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `type`, `kind`, `number`, `committed_at`, and the event's."""
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
    return None if unix_seconds is None else format_time(unix_seconds, "microseconds")


def _read_time(text: str | None) -> float | None:
    if text is None:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
