"""Reads an outbox: its events, its records, and how far outputs have got."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from co3d.engine.events.event import Event, Record
from co3d.engine.events.outbox_file import LATEST_NUMBER, MEDIA_NAME, open_to_read
from co3d.errors import OptionError, OutputError

MOST_ROWS = 1000
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Cursor:
    """How far the deliveries to an output have got.

    Attributes:
        output: its name. number: the number of the latest record that was delivered or skipped.
        delivered: records that it accepted. refused: records that it refused, which were skipped.
        dropped: records that were deleted undelivered, because the outbox was full.
        waiting: records after `number`.
    """

    output: str
    number: int
    delivered: int
    refused: int
    dropped: int
    waiting: int


class EventLog:
    """Reads an outbox while another thread or process writes it. Thread-safe.

        log = EventLog(Path("events"))
        for event in log.list_events(camera="door", limit=20): ...
        for record in log.follow(after=last_number, stopping=stopping): ...

    Args:
        folder: the outbox's folder.

    Raises:
        OutputError: there is no outbox, or it cannot be read; all methods raise it too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._connection = open_to_read(folder)

    def list_events(
        self,
        *,
        camera: str | None = None,
        rule: str | None = None,
        since_seconds: float | None = None,
        until_seconds: float | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        newest_first: bool = True,
        limit: int = 100,
    ) -> list[Event]:
        """List events as they are known now, in the order of their creation.

        Args:
            camera, rule: only events of this camera, of this rule.
            since_seconds, until_seconds: only events that began at or after the one and before the
                other, Unix time. Events of files count by the time of their first commit.
            is_open: only open events (true) or ended events (false).
            after: an event's id, for paging: only events after it in the chosen order.
            newest_first: the order.
            limit: the most events to list, 1 to 1000.

        Raises:
            OptionError: the limit is out of range, or no event has the id `after`.
        """
        _check_limit(limit)
        conditions: list[str] = []
        values: list[object] = []

        def add(condition: str, value: object) -> None:
            if value is not None:
                conditions.append(condition)
                values.append(value)

        add("camera = ?", camera)
        add("rule = ?", rule)
        add("moment >= ?", since_seconds)
        add("moment < ?", until_seconds)
        add("is_open = ?", is_open)
        add(f"place {'<' if newest_first else '>'} ?", after and self._find_place(after))
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = "DESC" if newest_first else "ASC"
        rows = self._fetch(
            f"SELECT body FROM events {where} ORDER BY place {order} LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return [Event.from_dict(json.loads(body)) for (body,) in rows]

    def get_event(self, event_id: str) -> Event | None:
        """The event of this id as it is known now; None if there is none."""
        rows = self._fetch("SELECT body FROM events WHERE id = ?", (event_id,))
        return Event.from_dict(json.loads(rows[0][0])) if rows else None

    def find_media(self, file_name: str) -> Path | None:
        """The path of an `Event.picture` or `Event.clip`; None if the file is gone."""
        path = self.folder / MEDIA_NAME / Path(file_name).name
        return path if path.is_file() else None

    @property
    def latest_number(self) -> int:
        """The number of the newest record that was ever committed; 0 if there was none."""
        rows = self._fetch(LATEST_NUMBER, ())
        return rows[0][0] if rows else 0

    def read_records(self, after: int, limit: int = 100) -> list[Record]:
        """Read the records after a number, oldest first; deleted ones are missing.

        Raises:
            OptionError: the limit is not 1 to 1000.
        """
        _check_limit(limit)
        rows = self._fetch(
            "SELECT number, kind, body, committed_seconds FROM records WHERE number > ? "
            "ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [
            Record(number, kind, Event.from_dict(json.loads(body)), committed_seconds)
            for number, kind, body, committed_seconds in rows
        ]

    def follow(self, after: int | None, stopping: threading.Event) -> Iterator[Record]:
        """Yield records after a number as they are committed, until told to stop.

        A record is yielded at most 0.1 s after its commit.

        Args:
            after: number of the last record that the reader has; None for new records only.
            stopping: ends the iteration.
        """
        number = self.latest_number if after is None else after
        while not stopping.is_set():
            records = self.read_records(number)
            for record in records:
                yield record
                number = record.number
            if not records:
                stopping.wait(POLL_SECONDS)

    def list_cursors(self) -> list[Cursor]:
        """The cursors of all outputs."""
        rows = self._fetch(
            "SELECT output, number, delivered, refused, dropped, "
            "(SELECT count(*) FROM records WHERE records.number > cursors.number) "
            "FROM cursors ORDER BY output",
            (),
        )
        return [Cursor(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _find_place(self, event_id: str) -> int:
        rows = self._fetch("SELECT place FROM events WHERE id = ?", (event_id,))
        if not rows:
            raise OptionError(f"cannot list events after {event_id}: there is none of that id")
        return rows[0][0]

    def _fetch(self, query: str, values: Sequence[object]) -> list[tuple]:
        try:
            with self._lock:
                return self._connection.execute(query, tuple(values)).fetchall()  # type: ignore[arg-type]
        except sqlite3.Error as error:
            raise OutputError(f"cannot read events in {self.folder}: {error}") from error

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_ROWS:
        raise OptionError(f"cannot list {limit} at once: expected 1 to {MOST_ROWS}")
