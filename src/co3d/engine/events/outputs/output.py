"""What an output is: a place to which records of events are delivered."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from co3d.engine.events.event import Record
from co3d.engine.events.outbox_file import MEDIA_NAME


class FailedDeliveryError(Exception):
    """A record could not be delivered now; it is tried again. Its text says why, without secrets.

    Attributes:
        after_seconds: when to try again at the soonest, if the receiver said so.
    """

    def __init__(self, reason: str, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class RefusedDeliveryError(Exception):
    """A record will never be taken: trying again is in vain. Its text says why."""


@dataclass(frozen=True)
class Delivery:
    """A record on its way, and where the files for media are."""

    record: Record
    folder: Path

    @property
    def picture(self) -> Path | None:
        """The event's picture, if it has one that is still there."""
        return self._find(self.record.event.picture)

    @property
    def clip(self) -> Path | None:
        """The event's clip, if it has one that is still there."""
        return self._find(self.record.event.clip)

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values, with `picture_path` and `clip_path` on this machine."""
        paths = {"picture_path": self.picture, "clip_path": self.clip}
        return self.record.as_dict() | {
            name: None if path is None else str(path.absolute()) for name, path in paths.items()
        }

    def _find(self, name: str | None) -> Path | None:
        path = None if name is None else self.folder / MEDIA_NAME / name
        return path if path is not None and path.is_file() else None


class Output(Protocol):
    """A place to which records are delivered, one after the other, in a thread of its own."""

    @property
    def most_tries(self) -> int | None:
        """How often a record is tried until it is left; None for without end."""
        ...

    def check(self) -> None:
        """Find out whether it could deliver, without delivering anything.

        Raises:
            OutputError: it could not; the text has no secrets.
        """
        ...

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:
        """Deliver a record, in bounded time, and soon give up where told to stop.

        The same record may come again after a crash; its number and its event's id tell.

        Raises:
            FailedDeliveryError, RefusedDeliveryError: it is not delivered.
        """
        ...

    def close(self) -> None:
        """Free what it holds, in bounded time."""
        ...
