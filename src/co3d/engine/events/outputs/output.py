"""The interface of outputs, to which records of events are delivered."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from co3d.engine.events.event import Record
from co3d.engine.events.outbox_file import MEDIA_NAME


class FailedDeliveryError(Exception):
    """A record could not be delivered now and is to be retried. The text has no secrets.

    Attributes:
        after_seconds: the shortest time to wait before the retry, if the receiver named one.
    """

    def __init__(self, reason: str, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class RefusedDeliveryError(Exception):
    """The receiver will never accept a record, so that it is skipped. The text says why."""


@dataclass(frozen=True)
class Delivery:
    """A record to deliver, and the outbox's folder, which has its media."""

    record: Record
    folder: Path

    @property
    def picture(self) -> Path | None:
        """The path of the event's picture; None if it has none or the file is gone."""
        return self._find(self.record.event.picture)

    @property
    def clip(self) -> Path | None:
        """The path of the event's clip; None if it has none or the file is gone."""
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
    """A receiver of records, which are delivered one by one in its own thread."""

    @property
    def most_tries(self) -> int | None:
        """How often a record is tried before it is skipped; None for no limit."""
        ...

    def check(self) -> None:
        """Check that it can deliver, without delivering anything.

        Raises:
            OutputError: it cannot; the text has no secrets.
        """
        ...

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:
        """Deliver a record, in bounded time; give up soon after `stopping` is set.

        After a crash the same record may be delivered again, with the same number and event id.

        Raises:
            FailedDeliveryError, RefusedDeliveryError: it is not delivered.
        """
        ...

    def close(self) -> None:
        """Release its resources, in bounded time."""
        ...
