"""How long an outbox keeps events, and what it deletes when it is full."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from co3d.engine.events.outbox_file import MEDIA_NAME

SECONDS_PER_DAY = 86400.0
MOST_AT_ONCE = 500
KEPT_SHARE = 0.9
"""Of `most_bytes`, where it was exceeded: deleting again and again one event at a time is slow."""


@dataclass(frozen=True)
class Retention:
    """What an outbox keeps.

    Attributes:
        keep_days: an event is deleted so long after it began, once it is over and every output has
            had it; None keeps it until there is no room.
        most_bytes: of the file and its pictures and clips. Beyond it the oldest events go, first
            those that every output has had; then others, which is counted (`Cursor.dropped`).
            Events that go on stay.
    """

    keep_days: float | None = 30.0
    most_bytes: int = 2 * 10**9


@dataclass
class Pruned:
    """What was deleted.

    Attributes:
        events: how many. media: names of their files, which are still there.
        dropped: by output, how many records it had not had.
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
    """Delete what is too old or too much, inside of a transaction of the caller's.

    Args:
        connection: to write. now_seconds: Unix time.
        cursors: by output, the number of the latest record that it is done with.
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
    """Delete files of deleted events."""
    for name in names:
        (folder / MEDIA_NAME / name).unlink(missing_ok=True)


def list_orphans(connection: sqlite3.Connection, folder: Path) -> Iterator[str]:
    """Files for media of which no event knows: their events were deleted just before a crash."""
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
    """Delete an event and its records; about how many bytes that frees."""
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
