"""The retention of an outbox: which events it deletes, by age and by size."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from co3d.engine.events.outbox_file import MEDIA_NAME

SECONDS_PER_DAY = 86400.0
MOST_AT_ONCE = 500
KEPT_SHARE = 0.9
"""Once `most_bytes` is exceeded, events are deleted down to this share of it, because deleting one
event at a time is slow."""


@dataclass(frozen=True)
class Retention:
    """How much an outbox keeps.

    Attributes:
        keep_days: an event is deleted this long after its start, if it has ended and every output
            has handled it; None for no limit of age.
        most_bytes: the most bytes of the file, pictures and clips. Beyond it the oldest ended
            events are deleted, first those that every output has handled, then others, which are
            counted (`Cursor.dropped`).
    """

    keep_days: float | None = 30.0
    most_bytes: int = 2 * 10**9


@dataclass
class Pruned:
    """What was deleted.

    Attributes:
        events: how many events. media: their file names, which are to be deleted by the caller.
        dropped: by output, how many undelivered records.
    """

    events: int = 0
    media: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)


def prune(
    connection: sqlite3.Connection,
    retention: Retention,
    now_seconds: float,
    cursors: dict[str, int],
) -> Pruned:
    """Delete events according to the retention, inside the caller's transaction.

    Args:
        connection: a connection for writing. now_seconds: Unix time.
        cursors: by output, the number of the latest record that it has handled.
    """
    pruned = Pruned()
    everywhere = min(cursors.values(), default=2**62)
    if retention.keep_days is not None:
        oldest_seconds = now_seconds - retention.keep_days * SECONDS_PER_DAY
        condition = "NOT is_open AND moment < ? AND latest_record <= ?"
        for row in _find(connection, condition, (oldest_seconds, everywhere)):
            _delete(connection, row, pruned)
    used = _count_bytes(connection)
    if used <= retention.most_bytes:
        return pruned
    allowed = retention.most_bytes * KEPT_SHARE
    for row in _find(connection, "NOT is_open AND latest_record <= ?", (everywhere,)):
        if used <= allowed:
            return pruned
        used -= _delete(connection, row, pruned)
    for row in _find(connection, "NOT is_open", ()):
        if used <= allowed:
            break
        for output, number in cursors.items():
            count = connection.execute(
                "SELECT count(*) FROM records WHERE event_id = ? AND number > ?", (row[0], number)
            ).fetchone()[0]
            pruned.dropped[output] = pruned.dropped.get(output, 0) + count
        used -= _delete(connection, row, pruned)
    return pruned


def remove_media(folder: Path, names: Iterable[str]) -> None:
    """Delete media files."""
    for name in names:
        (folder / MEDIA_NAME / name).unlink(missing_ok=True)


def list_orphans(connection: sqlite3.Connection, folder: Path) -> Iterator[str]:
    """List media files without an event, which remain if a crash follows an event's deletion."""
    for path in (folder / MEDIA_NAME).iterdir():
        known = connection.execute("SELECT 1 FROM events WHERE id = ?", (path.stem,)).fetchone()
        if known is None:
            yield path.name


def _find(
    connection: sqlite3.Connection, condition: str, values: tuple[float, ...]
) -> list[tuple[str, int]]:
    """(id, bytes) of the oldest events for which a condition holds."""
    return connection.execute(
        "SELECT id, media_bytes + 4 * length(body) FROM events "  # noqa: S608
        f"WHERE {condition} ORDER BY place LIMIT {MOST_AT_ONCE}",
        values,
    ).fetchall()


def _delete(connection: sqlite3.Connection, row: tuple[str, int], pruned: Pruned) -> int:
    """Delete an event and its records; returns about how many bytes that frees."""
    event_id, size = row
    connection.execute("DELETE FROM records WHERE event_id = ?", (event_id,))
    connection.execute("DELETE FROM events WHERE id = ?", (event_id,))
    pruned.events += 1
    pruned.media += [f"{event_id}.jpg", f"{event_id}.mkv"]
    return size


def _count_bytes(connection: sqlite3.Connection) -> int:
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    media = connection.execute("SELECT coalesce(sum(media_bytes), 0) FROM events").fetchone()[0]
    return (pages - free) * page_bytes + media
