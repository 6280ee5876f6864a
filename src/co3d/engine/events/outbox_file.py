"""The SQLite file of an outbox: its schema, and opening it."""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from co3d.engine.events.event import Event, Kind
from co3d.errors import OutputError

FILE_NAME = "outbox.sqlite3"
MEDIA_NAME = "media"
SCHEMA_VERSION = 1

LATEST_NUMBER = "SELECT seq FROM sqlite_sequence WHERE name = 'records'"
"""Selects the number of the newest record that was ever committed, even if it is deleted."""

_TABLES = """
CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    committed_seconds REAL NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX records_by_event ON records (event_id);
CREATE TABLE events (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    camera TEXT NOT NULL,
    rule TEXT NOT NULL,
    moment REAL NOT NULL,
    is_open INTEGER NOT NULL,
    latest_record INTEGER NOT NULL,
    media_bytes INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
);
CREATE INDEX events_by_moment ON events (moment);
CREATE INDEX events_by_camera ON events (camera, place);
CREATE INDEX events_by_record ON events (latest_record);
CREATE INDEX open_events ON events (is_open) WHERE is_open;
CREATE TABLE cursors (
    output TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open the file for writing, and create it if absent.

    A commit returns when it is on the disk (WAL, synchronous=FULL).

    Raises:
        OutputError: the file cannot be created or read, or is of a later version.
    """
    path = folder / FILE_NAME
    try:
        # isolation_level=None: Python begins no transactions by itself.
        connection = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(
                    f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                )
            elif version != SCHEMA_VERSION:
                raise OutputError(
                    f"cannot use {path}: it is of version {version}, expected {SCHEMA_VERSION}; "
                    "use the co3d that wrote it, or name another folder for events"
                )
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        raise OutputError(
            f"cannot keep events in {path}: {error}; check that its folder can be written and has "
            "room, or name another one"
        ) from error


def open_to_read(folder: Path) -> sqlite3.Connection:
    """Open the file for reading, while another connection may write.

    Raises:
        OutputError: the file does not exist or cannot be read.
    """
    path = folder / FILE_NAME
    try:
        if not path.is_file():
            raise OutputError(f"cannot read {path}: there are no events; run `co3d watch` first")
        address = f"{path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(
            address, uri=True, isolation_level=None, timeout=5, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise OutputError(f"cannot read {path}: {error}; check the file") from error


def insert_record(
    connection: sqlite3.Connection, kind: Kind, event: Event, now_seconds: float, media_bytes: int
) -> int:
    """Insert a record and update its event; returns the record's number."""
    body = json.dumps(event.as_dict(), ensure_ascii=False)
    number = connection.execute(
        "INSERT INTO records (event_id, kind, committed_seconds, body) VALUES (?, ?, ?, ?)",
        (event.id, kind, now_seconds, body),
    ).lastrowid
    assert number is not None
    moment = now_seconds if event.start_unix_seconds is None else event.start_unix_seconds
    connection.execute(
        "INSERT INTO events (id, camera, rule, moment, is_open, latest_record, media_bytes, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "is_open = excluded.is_open, latest_record = excluded.latest_record, "
        "media_bytes = excluded.media_bytes, "
        "body = excluded.body",
        (event.id, event.camera, event.rule, moment, event.is_open, number, media_bytes, body),
    )
    return number


def end_interrupted(connection: sqlite3.Connection, open_ids: Collection[str]) -> list[Event]:
    """End events that are open in the file but not in this process, as "interrupted".

    Args:
        open_ids: the ids of events that are open in this process.
    """
    rows = connection.execute("SELECT body FROM events WHERE is_open").fetchall()
    events = [Event.from_dict(json.loads(body)) for (body,) in rows]
    return [
        replace(
            event,
            cause="interrupted",
            end_pts_seconds=event.latest_pts_seconds,
            end_unix_seconds=event.latest_unix_seconds,
        )
        for event in events
        if event.id not in open_ids
    ]
