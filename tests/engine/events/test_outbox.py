"""The outbox and the event log."""

import shutil
import sqlite3
import threading
from dataclasses import replace

import pytest

from co3d.engine.events import EventLog, Retention
from co3d.engine.events import outbox as module
from co3d.engine.events.event import make_event_id
from co3d.errors import OptionError, OutputError
from support.event_samples import end, make_event, open_outbox


@pytest.fixture
def outbox(tmp_path):
    with open_outbox(tmp_path / "events") as outbox:
        yield outbox


def test_an_event_reads_as_it_was_written(outbox):
    event = make_event(peak=0.75, mean=0.5, predictions=3)
    outbox.append("start", event)
    outbox.append("end", end(event))
    assert outbox.flush(10)
    assert outbox.log.get_event(event.id) == end(event)
    first, second = outbox.log.read_records(0)
    assert (first.number, first.kind, first.event) == (1, "start", event)
    assert (second.number, second.kind, second.event) == (2, "end", end(event))
    assert first.as_dict()["started_at"] == "1970-01-01T00:01:40.000000Z"
    assert first.as_dict()["type"] == "event"


def test_ids_sort_by_time_and_are_uuids_of_version_7():
    from uuid import UUID

    ids = [make_event_id(seconds) for seconds in (1.0, 2.0, 2e9)]
    assert ids == sorted(ids)
    assert [UUID(one).version for one in ids] == [7, 7, 7]
    assert UUID(ids[1]).int >> 80 == 2000


def test_events_are_listed_by_filters(outbox):
    events = [
        make_event(camera, rule, start)
        for camera, rule, start in (
            ("door", "fall", 1.0), ("yard", "fall", 2.0),
            ("door", "run", 3.0), ("door", "fall", 4.0),
        )
    ]  # fmt: skip
    for event in events:
        outbox.append("start", event)
    outbox.append("end", end(events[0]))
    outbox.flush(10)

    def find(**wanted):
        return [event.start_unix_seconds for event in outbox.log.list_events(**wanted)]

    assert find() == [4, 3, 2, 1]
    assert find(newest_first=False) == [1, 2, 3, 4]
    assert find(camera="door") == [4, 3, 1]
    assert find(camera="door", rule="fall") == [4, 1]
    assert find(since_seconds=2.0, until_seconds=4.0) == [3, 2]
    assert find(is_open=False) == [1]
    assert find(limit=2) == [4, 3]
    assert find(after=events[2].id) == [2, 1]
    assert find(after=events[2].id, newest_first=False) == [4]
    with pytest.raises(OptionError, match="none of that id"):
        find(after="nobody")
    with pytest.raises(OptionError, match="1 to 1000"):
        find(limit=0)


def test_records_are_followed_from_a_number_on(outbox):
    events = [make_event(start=float(number)) for number in range(5)]
    for event in events[:3]:
        outbox.append("start", event)
    outbox.flush(10)
    stopping = threading.Event()
    followed = outbox.log.follow(1, stopping)
    assert [next(followed).number, next(followed).number] == [2, 3]
    outbox.append("start", events[3])
    record = next(followed)
    assert (record.number, record.event.id) == (4, events[3].id)
    stopping.set()
    assert list(followed) == []


def test_another_process_may_read_but_not_write(outbox):
    outbox.append("start", make_event())
    outbox.flush(10)
    with EventLog(outbox.folder) as log:
        assert len(log.list_events()) == 1
    with pytest.raises(OutputError, match="another process"):
        open_outbox(outbox.folder)


def test_there_is_nothing_to_read_without_an_outbox(tmp_path):
    with pytest.raises(OutputError, match="there are no events"):
        EventLog(tmp_path)


def test_another_file_than_an_outbox_is_refused(tmp_path):
    (tmp_path / "outbox.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match="not a database"):
        open_outbox(tmp_path)


def test_an_outbox_of_a_later_version_is_refused_unchanged(tmp_path):
    open_outbox(tmp_path).close()
    with sqlite3.connect(tmp_path / "outbox.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(OutputError, match="version 99, expected 1"):
        open_outbox(tmp_path)


def test_an_event_that_a_crash_left_open_is_ended(tmp_path):
    with open_outbox(tmp_path / "a") as outbox:
        event = make_event()
        outbox.append("start", event)
        outbox.append("update", replace(event, latest_pts_seconds=12.0, latest_unix_seconds=102.0))
        outbox.flush(10)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    with open_outbox(tmp_path / "b") as outbox:
        found = outbox.log.get_event(event.id)
        assert found is not None
        assert (found.cause, found.end_pts_seconds, found.end_unix_seconds) == (
            "interrupted", 12.0, 102.0
        )  # fmt: skip
        assert [record.kind for record in outbox.log.read_records(0)] == ["start", "update", "end"]


def test_an_output_continues_after_a_restart(tmp_path):
    with open_outbox(tmp_path) as outbox:
        outbox.append("start", make_event())
        outbox.flush(10)
        outbox.set_outputs(["hook", "old"])
        assert outbox.read_cursor("hook") == 1  # not what was before it
        for _ in range(3):
            outbox.append("start", make_event())
        outbox.flush(10)
        outbox.move_cursor("hook", 3, delivered=1, refused=1)
    with open_outbox(tmp_path) as outbox:
        outbox.set_outputs(["hook", "new"])
        outbox.flush(10)
        end = outbox.log.latest_number  # four starts, and the ends of what was open
        assert outbox.read_cursor("hook") == 3
        assert outbox.read_cursor("new") == end == 8
        hook, new = outbox.log.list_cursors()
        assert (hook.output, hook.delivered, hook.refused, hook.waiting) == ("hook", 1, 1, end - 3)
        assert (new.output, new.waiting) == ("new", 0)


def fail_commits(outbox, monkeypatch):
    """Make the disk full; returns a function that makes room again."""
    real = outbox._commit

    def refuse(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(outbox, "_commit", refuse)
    return lambda: monkeypatch.setattr(outbox, "_commit", real)


def test_records_are_committed_once_a_full_disk_has_room(tmp_path, monkeypatch):
    said: list[str] = []
    with open_outbox(tmp_path, on_notice=said.append) as outbox:
        make_room = fail_commits(outbox, monkeypatch)
        events = [make_event(start=float(number)) for number in range(9)]
        for event in events:
            outbox.append("start", event)
        assert not outbox.flush(0.1)
        assert outbox.health().failure == "database or disk is full"
        assert outbox.health().waiting == 9
        make_room()
        assert outbox.flush(10)
        assert [record.event.id for record in outbox.log.read_records(0)] == [e.id for e in events]
        health = outbox.health()
        assert (health.latest_number, health.waiting, health.lost) == (9, 0, 0)
        assert health.failure is None
    assert [one.split(" in ")[0] for one in said] == [
        "events cannot be kept", "events are kept again",
    ]  # fmt: skip


def test_lost_records_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    with open_outbox(tmp_path) as outbox:
        make_room = fail_commits(outbox, monkeypatch)
        events = [make_event(start=float(number)) for number in range(8)]
        for event in events:
            outbox.append("start", event)
        assert (outbox.health().waiting, outbox.health().lost) == (5, 3)
        make_room()
        outbox.flush(10)
        assert [r.event.id for r in outbox.log.read_records(0)] == [e.id for e in events[3:]]
    with open_outbox(tmp_path) as outbox:
        assert outbox.health().lost == 3


def test_an_event_whose_end_is_lost_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    with open_outbox(tmp_path) as outbox:
        lost, going = make_event(start=1.0), make_event(start=2.0)
        outbox.append("start", lost)
        outbox.append("start", going)
        outbox.flush(10)
        make_room = fail_commits(outbox, monkeypatch)
        outbox.append("end", end(lost))
        for _ in range(2):
            outbox.append("update", going)
        make_room()
        outbox.flush(10)
        assert outbox.log.get_event(lost.id).cause == "interrupted"
        assert outbox.log.get_event(going.id).is_open


def test_old_events_are_deleted_once_all_outputs_have_had_them(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PRUNE_SECONDS", 0.0)
    days = 86400.0
    outbox = open_outbox(tmp_path, retention=Retention(keep_days=1), clock=lambda: 3 * days)
    with outbox:
        outbox.set_outputs(["hook"])
        events = [
            make_event(start=1 * days),
            make_event(start=1.5 * days),
            make_event(start=2.5 * days),
        ]
        for event in events:
            (tmp_path / "media" / f"{event.id}.jpg").write_bytes(b"picture")
            outbox.append("start", event)
        outbox.append("end", end(events[0]))
        outbox.append("end", end(events[2]))
        outbox.flush(10)
        assert len(outbox.log.list_events()) == 3  # the output has had none
        outbox.move_cursor("hook", 5, delivered=5)
        outbox.flush(10)
        outbox.close()
    with EventLog(tmp_path) as log:
        left = [event.id for event in log.list_events(newest_first=False)]
        assert left == [events[1].id, events[2].id]  # the one that goes on, and the new one
        assert {record.event.id for record in log.read_records(0)} == set(left)
    assert {path.stem for path in (tmp_path / "media").iterdir()} == set(left)


def test_events_beyond_the_size_are_deleted_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PRUNE_SECONDS", 0.0)
    said: list[str] = []
    outbox = open_outbox(tmp_path, retention=Retention(most_bytes=150_000), on_notice=said.append)
    with outbox:
        outbox.set_outputs(["hook"])
        events = [end(make_event(start=float(number))) for number in range(10)]
        for event in events:
            picture = f"{event.id}.jpg"
            (tmp_path / "media" / picture).write_bytes(bytes(20_000))
            outbox.append("end", replace(event, picture=picture))
        outbox.flush(10)
        outbox.close()
    with EventLog(tmp_path) as log:
        left = [event.start_unix_seconds for event in log.list_events(newest_first=False)]
        assert left == [float(number) for number in range(10 - len(left), 10)]
        assert 1 < len(left) < 8
        assert log.list_cursors()[0].dropped == 10 - len(left)
    assert len(list((tmp_path / "media").iterdir())) == len(left)
    assert any("that the output hook had not had" in one for one in said)


def test_orphaned_media_are_removed_at_the_next_start(tmp_path):
    with open_outbox(tmp_path) as outbox:
        event = make_event()
        outbox.append("start", event)
        outbox.flush(10)
        (tmp_path / "media" / f"{event.id}.jpg").write_bytes(b"")
        (tmp_path / "media" / f"{make_event_id()}.mkv").write_bytes(b"")
    with open_outbox(tmp_path):
        assert [path.name for path in (tmp_path / "media").iterdir()] == [f"{event.id}.jpg"]
