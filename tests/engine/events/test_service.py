"""The service: rules, outbox, pictures and clips together."""

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from co3d.engine import SourceChanged, TrackEnded
from co3d.engine.events import ClipSpan, Outbox, Rule, RuleBook
from co3d.engine.events.service import EventService, View, find_ring_seconds
from co3d.video import SourceState, read_video
from co3d.video.packet_ring import PacketRing
from support.label_predictions import LABELS, make_prediction
from support.videos import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("service") / "a.mp4", 64)


@pytest.fixture
def ring(video):
    ring = PacketRing(60.0)
    with read_video(video, ring=ring) as reader:
        list(reader)
    return ring


@pytest.fixture
def outbox(tmp_path):
    with Outbox(tmp_path / "events", commit_seconds=0.001) as outbox:
        yield outbox


def make_service(outbox, view=None, said=None, **settings):
    rule = Rule(**{"name": "falls", "labels": ("falling",), "update_seconds": None} | settings)
    notices = [] if said is None else said
    return EventService(RuleBook([rule], LABELS), outbox, lambda _: view, notices.append)


def wait_for_records(outbox, count):
    until = time.monotonic() + 10
    while len(records := outbox.log.read_records(0)) < count and time.monotonic() < until:
        time.sleep(0.005)
    return records


def test_pictures_and_clips_come_as_soon_as_they_can(sandboxed_or_not, outbox, ring):
    service = make_service(outbox, View(ring, rotate=90), clip=ClipSpan(0.5, 0.25, 1.0))
    service.take(make_prediction(2.0, 0.9))
    wait_for_records(outbox, 2)
    service.take(make_prediction(2.5, 0.9))
    service.take(make_prediction(2.75, 0.1))
    records = wait_for_records(outbox, 4)
    service.close(5)
    assert [record.kind for record in records] == ["start", "media", "end", "media"]
    event = records[-1].event
    assert event.cause == "below"
    picture, clip = (outbox.log.find_media(name) for name in (event.picture, event.clip))
    with Image.open(picture) as image:
        assert image.size == (64, 96)
    with read_video(clip) as reader:
        assert len(list(reader)) == 16 * 2.75 + 1  # from the only key frame to 0.25 s after the end
    assert {record.event.id for record in records} == {event.id}


def test_a_clip_of_a_long_event_does_not_wait_for_its_end(outbox, ring):
    ring._is_closed = False
    service = make_service(outbox, View(ring), has_picture=False, clip=ClipSpan(0, 0.5, 0.5))
    newest = ring._kept[-1]
    later = replace(newest.packet, dts_seconds=7.0)
    ring._kept[-1] = replace(newest, packet=later)
    service.take(make_prediction(1.0, 0.9))
    records = wait_for_records(outbox, 2)
    with read_video(outbox.log.find_media(records[1].event.clip)) as reader:
        assert len(list(reader)) == 16 * 2 + 1
    service.close(5)


def test_an_end_that_comes_first_keeps_its_picture(outbox, ring):
    service = make_service(outbox, View(ring))
    service.take(make_prediction(1.0, 0.9))
    service.take(make_prediction(1.1, 0.1))
    records = wait_for_records(outbox, 3)
    service.close(5)
    event = outbox.log.get_event(records[0].event.id)
    assert (event.cause, event.is_open) == ("below", False)
    assert event.picture == f"{event.id}.jpg"


def test_cameras_without_packets_have_no_pictures(outbox):
    empty = make_service(outbox, View(PacketRing(1.0)))
    for service in (make_service(outbox), empty):
        service.take(make_prediction(1.0, 0.9))
        service.close(5)
    outbox.flush(10)
    assert {record.kind for record in outbox.log.read_records(0)} == {"start", "end"}


def test_events_end_as_stopped_when_the_program_stops(outbox):

    service = make_service(outbox)
    service.take(make_prediction(1.0, 0.9))
    service.request_stop()
    service.take(TrackEnded("door"))
    service.take(make_prediction(1.0, 0.9, track="yard"))
    service.close(5)
    outbox.flush(10)
    causes = {event.camera: event.cause for event in outbox.log.list_events()}
    assert causes == {"door": "stopped", "yard": "stopped"}


def test_events_of_a_silent_source_end(outbox):
    service = make_service(outbox, hold_seconds=0.1)
    service.take(make_prediction(1.0, 0.9))
    service.take(SourceChanged("door", SourceState("reconnecting")))
    records = wait_for_records(outbox, 2)
    assert [record.event.cause for record in records] == [None, "unknown"]
    service.close(5)


def test_labelling_goes_on_while_the_disk_is_full(outbox, monkeypatch):
    def refuse(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(outbox, "_commit", refuse)
    service = make_service(outbox)
    began = time.monotonic()
    for number in range(2000):
        service.take(make_prediction(float(number), 0.9 * (number % 2)))
    assert time.monotonic() - began < 5
    service.close(0.1)
    assert outbox.health().waiting == 2000
    monkeypatch.undo()
    assert outbox.flush(10)


def test_rings_keep_packets_for_the_rules():
    plain = Rule("a", ("falling",), has_picture=False)
    assert find_ring_seconds([plain]) is None
    assert find_ring_seconds([plain, Rule("b", ("falling",), min_seconds=2.0)]) == 12
    clip = Rule("c", ("falling",), has_picture=False, clip=ClipSpan(5, 5, 20))
    assert find_ring_seconds([plain, clip]) == 40


def test_pictures_that_cannot_be_written_are_noticed_once(outbox, ring, monkeypatch):
    said: list[str] = []
    service = make_service(outbox, View(ring), said)
    monkeypatch.setattr(Image.Image, "save", _refuse)
    for number in range(4):
        service.take(make_prediction(0.5 * number, 0.9 * (number % 2)))
    service.close(5)
    outbox.flush(10)
    assert len(said) == 1
    assert "no picture or clip" in said[0]
    assert list((outbox.folder / "media").iterdir()) == []
    assert len(outbox.log.list_events()) == 2


def _refuse(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
