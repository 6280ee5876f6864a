"""The outbox: stores every record of an event on the disk before any output gets it."""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from co3d.engine.events.event import Event, Kind
from co3d.engine.events.event_log import EventLog
from co3d.engine.events.outbox_file import (
    LATEST_NUMBER,
    MEDIA_NAME,
    end_interrupted,
    insert_record,
    open_to_write,
)
from co3d.engine.events.retention import Retention, list_orphans, prune, remove_media
from co3d.errors import OutputError
from co3d.files import make_folder

COMMIT_SECONDS = 0.05
"""How long a record waits for others, so that one commit writes them all."""

MOST_WAITING = 10_000
"""How many records wait while the disk is full; beyond that the oldest are lost, and counted."""

RETRY_SECONDS = 1.0
PRUNE_SECONDS = 60.0
CLOSE_SECONDS = 1.0

NoticeListener = Callable[[str], None]


@dataclass(frozen=True)
class OutboxHealth:
    """The health of an outbox.

    Attributes:
        latest_number: the number of the newest committed record.
        waiting: records that are not committed yet.
        lost: records that could not be committed, since the outbox was created.
        failure: why nothing can be committed now; None if it works.
    """

    latest_number: int
    waiting: int
    lost: int
    failure: str | None


@dataclass(frozen=True)
class _Move:
    """An output's progress since the last commit; see `Outbox.move_cursor`."""

    output: str
    number: int
    delivered: int
    refused: int


class Outbox:
    """Stores records of events in a folder, in the order in which they are appended.

    A thread writes the records of 50 ms in one transaction, so that `append` never waits for the
    disk. If the disk is full, up to 10 000 records wait, and the write is repeated every second.
    Events that a killed process left open, or whose end was lost, end as "interrupted".

    Args:
        folder: created if absent; locked by this process while it is open.
        retention: what is kept.
        on_notice: called with a sentence when something fails, and when it works again.
        commit_seconds: how long records wait for others.
        clock: gives Unix time.

    Raises:
        OutputError: the folder cannot be used, or another process uses it.
    """

    def __init__(
        self,
        folder: Path,
        retention: Retention | None = None,
        *,
        on_notice: NoticeListener = lambda _: None,
        commit_seconds: float = COMMIT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._retention = retention or Retention()
        self._on_notice, self._commit_seconds, self._clock = on_notice, commit_seconds, clock
        make_folder(folder / MEDIA_NAME, choice="folder for events")
        self._lock_file = FileLock(folder / "lock")
        try:
            self._lock_file.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"cannot keep events in {folder}: another process does; name another folder"
            ) from error
        try:
            self._connection = open_to_write(folder)
            self._changed = threading.Condition()
            self._waiting: deque[tuple[Kind, Event]] = deque()
            self._open_ids: set[str] = set()
            self._is_flushing = self._is_closing = self._is_committing = False
            self._failure: str | None = None
            self._next_prune_seconds = time.monotonic()
            self._cursors: dict[str, int] = {}
            self._moved: dict[str, list[int]] = {}  # delivered, refused since the last commit
            self._removed: set[str] = set()
            self._load()
            self.log = EventLog(folder)
        except BaseException:
            self._lock_file.release()
            raise
        self._thread = threading.Thread(target=self._write, name="co3d keeps events", daemon=True)
        self._thread.start()

    def append(self, kind: Kind, event: Event) -> None:
        """Append a record of an event; returns at once."""
        with self._changed:
            self._waiting.append((kind, event))
            if event.is_open:
                self._open_ids.add(event.id)
            else:
                self._open_ids.discard(event.id)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify_all()

    def health(self) -> OutboxHealth:
        """The health of the outbox."""
        with self._changed:
            return OutboxHealth(self._latest, len(self._waiting), self._lost, self._failure)

    def set_outputs(self, names: Iterable[str]) -> None:
        """Set the names of the outputs.

        A new output gets records from now on, a known one continues. Others are removed, so that
        retention no longer waits for them.
        """
        with self._changed:
            names = set(names)
            self._removed |= self._cursors.keys() - names
            self._cursors = {name: self._cursors.get(name, self._latest) for name in names}
            self._moved = {name: self._moved.get(name, [0, 0]) for name in names}
            self._changed.notify_all()

    def read_cursor(self, output: str) -> int:
        """The number of the latest record that an output has handled."""
        with self._changed:
            return self._cursors[output]

    def move_cursor(
        self, output: str, number: int, *, delivered: int = 0, refused: int = 0
    ) -> None:
        """Note that an output has handled all records up to a number.

        Args:
            output: its name. number: a record's number.
            delivered: how many more it accepted. refused: how many more it refused.
        """
        with self._changed:
            if output not in self._cursors:
                return  # it was removed meanwhile
            self._cursors[output] = max(number, self._cursors[output])
            counts = self._moved.setdefault(output, [0, 0])
            counts[0] += delivered
            counts[1] += refused
            self._changed.notify_all()

    def wait_for_records(self, after: int, timeout_seconds: float) -> bool:
        """Wait for a record after a number, or for `wake`; returns whether there is one."""
        with self._changed:
            if self._latest <= after:
                self._changed.wait(timeout_seconds)
            return self._latest > after

    def wake(self) -> None:
        """Wake all threads that wait for records."""
        with self._changed:
            self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Commit all appended records now; returns whether that was done in time."""
        until = time.monotonic() + timeout_seconds
        with self._changed:
            self._is_flushing = True
            self._changed.notify_all()
            while self._has_work and time.monotonic() < until:
                self._changed.wait(max(0.0, until - time.monotonic()))
            self._is_flushing = False
            return not self._has_work

    def close(self) -> None:
        """Commit waiting records, within 1 s, and close the file."""
        self.flush(CLOSE_SECONDS)
        with self._changed:
            if self._is_closing:
                return
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_SECONDS)
        if self._waiting:
            self._on_notice(
                f"events in {self.folder}: {len(self._waiting)} records are lost, which could not "
                f"be written ({self._failure})"
            )
        self.log.close()
        if not self._thread.is_alive():
            self._connection.close()
        self._lock_file.release()

    @property
    def _has_work(self) -> bool:
        return bool(self._waiting or self._moved or self._removed or self._is_committing)

    def _load(self) -> None:
        """Read counts and cursors, end events that were left open, and delete orphaned media."""
        connection = self._connection
        try:
            newest = connection.execute(LATEST_NUMBER).fetchone()
            self._latest = newest[0] if newest else 0
            rows = connection.execute("SELECT output, number FROM cursors").fetchall()
            self._cursors = dict(rows)
            found = connection.execute("SELECT value FROM counts WHERE name = 'lost'").fetchone()
            self._lost = self._lost_before = found[0] if found else 0
            self._commit(
                [("end", event) for event in end_interrupted(connection, ())], [], set(), ()
            )
            remove_media(self.folder, list_orphans(connection, self.folder))
        except (sqlite3.Error, OSError) as error:
            connection.close()
            raise OutputError(
                f"cannot keep events in {self.folder}: {error}; make room, or name another folder"
            ) from error

    def _write(self) -> None:
        """Commit waiting records until closed; the body of the thread."""
        while self._wait_for_work():
            with self._changed:
                records, removed = list(self._waiting), self._removed
                open_ids = frozenset(self._open_ids)
                moves = [
                    _Move(output, self._cursors[output], *counts)
                    for output, counts in self._moved.items()
                ]
                self._moved, self._removed, self._is_committing = {}, set(), True
            try:
                self._commit(records, moves, removed, open_ids)
            except sqlite3.Error as error:
                self._fail(str(error), moves, removed)
                continue
            with self._changed:
                self._is_committing = False
                # Records that were pushed out of the full queue meanwhile were committed, not lost.
                pushed_out = self._count_pushed_out(records)
                self._lost -= pushed_out
                for _ in range(len(records) - pushed_out):
                    self._waiting.popleft()
                was_failing, self._failure = self._failure is not None, None
                self._changed.notify_all()
            if was_failing:
                self._on_notice(
                    f"events are kept again in {self.folder}; {self._lost} records were lost so far"
                )
            self._prune()

    def _count_pushed_out(self, records: list[tuple[Kind, Event]]) -> int:
        """How many of the records that were just committed are no longer in the queue."""
        for place, record in enumerate(records):
            if self._waiting and self._waiting[0] is record:
                return place
        return len(records)

    def _wait_for_work(self) -> bool:
        """Wait for something to commit, and then for `commit_seconds`; False once closed."""
        with self._changed:
            if self._failure is not None:
                self._changed.wait_for(
                    lambda: self._is_closing or self._is_flushing, timeout=RETRY_SECONDS
                )
                self._is_flushing = False
            self._changed.wait_for(
                lambda: self._has_work or self._is_closing, timeout=PRUNE_SECONDS
            )
            if self._has_work:
                self._changed.wait_for(
                    lambda: self._is_flushing or self._is_closing, timeout=self._commit_seconds
                )
            if self._is_closing:
                return self._has_work and self._failure is None
            return True

    def _commit(
        self,
        records: list[tuple[Kind, Event]],
        moves: list["_Move"],
        removed: set[str],
        open_ids: Collection[str],
    ) -> None:
        connection, now_seconds, latest = self._connection, self._clock(), self._latest
        lost = self._lost
        connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, event in records:
                latest = insert_record(
                    connection, kind, event, now_seconds, self._count_media_bytes(event)
                )
            for output in removed:
                connection.execute("DELETE FROM cursors WHERE output = ?", (output,))
            for move in moves:
                connection.execute(
                    "INSERT INTO cursors (output, number, delivered, refused) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (output) DO UPDATE SET number = excluded.number, "
                    "delivered = delivered + excluded.delivered, "
                    "refused = refused + excluded.refused",
                    (move.output, move.number, move.delivered, move.refused),
                )
            if lost != self._lost_before:
                for event in end_interrupted(connection, open_ids):  # their end records were lost
                    latest = insert_record(connection, "end", event, now_seconds, 0)
                connection.execute(
                    "INSERT INTO counts VALUES ('lost', ?) "
                    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (lost,),
                )
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._lost_before, self._latest = lost, latest

    def _count_media_bytes(self, event: Event) -> int:
        """Bytes of an event's picture and clip."""
        paths = [self.folder / MEDIA_NAME / name for name in (event.picture, event.clip) if name]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def _fail(self, reason: str, moves: list["_Move"], removed: set[str]) -> None:
        """Put back what could not be written, for the next attempt."""
        with self._changed:
            for move in moves:
                if move.output in self._cursors:
                    counts = self._moved.setdefault(move.output, [0, 0])
                    counts[0] += move.delivered
                    counts[1] += move.refused
            self._removed |= removed - self._cursors.keys()
            is_new, self._failure = self._failure is None, reason
            self._is_committing = False
            self._is_flushing = False
            self._changed.notify_all()
        if is_new:
            self._on_notice(
                f"events cannot be kept in {self.folder}: {reason}; labelling goes on, and up to "
                f"{MOST_WAITING} records wait until there is room"
            )

    def _prune(self) -> None:
        """Apply the retention, once a minute."""
        if time.monotonic() < self._next_prune_seconds:
            return
        self._next_prune_seconds = time.monotonic() + PRUNE_SECONDS
        connection = self._connection
        with self._changed:
            cursors = dict(self._cursors)
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                pruned = prune(connection, self._retention, self._clock(), cursors)
                for output, count in pruned.dropped.items():
                    connection.execute(
                        "UPDATE cursors SET dropped = dropped + ? WHERE output = ?", (count, output)
                    )
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            remove_media(self.folder, pruned.media)
        except (sqlite3.Error, OSError) as error:
            self._on_notice(f"old events in {self.folder} cannot be deleted: {error}")
            return
        for output, count in pruned.dropped.items():
            if count:
                self._on_notice(
                    f"events in {self.folder} take more than {self._retention.most_bytes} bytes: "
                    f"{count} records were deleted that the output {output} had not had"
                )

    def __enter__(self) -> "Outbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
