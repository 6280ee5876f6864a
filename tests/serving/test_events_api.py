"""Events over the API, and as Server-Sent Events."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from starlette.testclient import TestClient

from co3d.engine.events import Event, Outbox
from co3d.engine.events.event import make_event_id
from co3d.engine.fleet_file import read_fleet
from co3d.serving.app import make_app
from co3d.serving.settings import ServingLimits
from support.serving import run_service


@pytest.fixture
def outbox(tmp_path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "events", commit_seconds=0.0)
    yield outbox
    outbox.close()


def add(outbox: Outbox, camera: str, start: float, **more) -> Event:
    event = Event(
        make_event_id(start), camera, "fall", "pan left", start, start, start_unix_seconds=start
    )
    event = replace(event, **more)
    outbox.append("start", event)
    assert outbox.flush(5)
    return event


@pytest.fixture
def service(open_server, outbox):
    return open_server(events=outbox.folder, limits=ServingLimits(subscribers=1))


@pytest.fixture
def client(service):
    return TestClient(make_app(service), base_url="http://localhost")


def test_events_are_listed_with_filters_and_media(outbox, client):
    (outbox.folder / "media" / "a.jpg").write_bytes(b"jpeg")
    first = add(outbox, "door", 100.0, picture="a.jpg")
    second = add(outbox, "yard", 200.0, cause="below")

    def ids(query: str) -> list[str]:
        return [event["id"] for event in client.get(f"/v1/events?{query}").json()]

    assert ids("") == [second.id, first.id]
    assert ids("stream=door") == [first.id]
    assert ids("is_open=false") == [second.id]
    assert ids("since=1970-01-01T00:02:00Z") == [second.id]
    assert ids("order=oldest&limit=1") == [first.id]
    assert ids(f"order=oldest&after={first.id}") == [second.id]
    one = client.get(f"/v1/events/{first.id}").json()
    assert (one["camera"], one["started_at"]) == ("door", "1970-01-01T00:01:40.000000Z")
    assert client.get(one["picture"]).content == b"jpeg"
    assert client.get(f"/v1/events/{first.id}/clip").status_code == 404
    assert client.get(f"/v1/events/{make_event_id(1.0)}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "?limit=0",
        "?after=none",
        "?since=yesterday",
        "?since=0.0",
        "?until=1e9",
        "?since=2026-01-31T12:00:00",
        "/none",
        "/stream?after=-1",
    ],
)
def test_invalid_event_queries_are_refused(client, path):
    assert client.get(f"/v1/events{path}").status_code in (400, 422)


def test_a_server_without_events_says_so(open_server):
    client = TestClient(make_app(open_server()), base_url="http://localhost")
    assert client.get("/v1/events").status_code == 404


def read(lines: Iterator[str]) -> tuple[int, dict]:
    """The next message: its id and its data."""
    number = 0
    for line in lines:
        if line.startswith("id: "):
            number = int(line[4:])
        if line.startswith("data: "):
            return number, json.loads(line[6:])
    raise AssertionError("the stream ended")


def test_a_client_that_reconnects_resumes_after_its_last_event(outbox, service):
    first = add(outbox, "door", 100.0)
    second = add(outbox, "yard", 200.0)
    with run_service(service) as url, httpx2.Client(base_url=url, timeout=10) as client:
        headers = {"Last-Event-ID": "1"}
        with client.stream("GET", "/v1/events/stream", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            number, data = read(lines)
            assert (number, data["id"], data["kind"]) == (2, second.id, "start")
            adding = threading.Thread(target=add, args=(outbox, "door", 300.0))
            adding.start()
            number, data = read(lines)
            adding.join()
            assert (number, data["start_pts_seconds"]) == (3, 300.0)
            refused = client.get("/v1/events/stream")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        for _ in range(200):
            if not service.counters.subscribers:
                break
            threading.Event().wait(0.01)
        with client.stream("GET", "/v1/events/stream?after=0&stream=door") as answer:
            lines = answer.iter_lines()
            assert [read(lines)[1]["id"] for _ in range(1)] == [first.id]
            assert read(lines)[0] == 3


def test_a_clock_that_is_set_back_hides_no_event_from_followers(outbox, service):
    add(outbox, "door", 7200.0)
    later = add(outbox, "door", 3600.0)  # an hour before, by the clock
    with run_service(service) as url, httpx2.Client(base_url=url, timeout=10) as client:
        headers = {"Last-Event-ID": "1"}
        with client.stream("GET", "/v1/events/stream", headers=headers) as answer:
            number, data = read(answer.iter_lines())
    assert (number, data["id"]) == (2, later.id)


def test_cameras_of_a_fleet_file_make_events(
    sandboxed_or_not, open_server, network, tmp_path, video
):
    path = tmp_path / "fleet.yaml"
    rule = {"name": "any", "groups": {"all": list(network[1].labels or ["class 0"])}}
    fleet = {
        "cameras": [{"name": "door", "source": str(video)}],
        "rules": [{**rule, "threshold": 0.01, "clip": {"before_seconds": 1}}],
        "events": {"folder": str(tmp_path / "made")},
    }
    path.write_text(json.dumps(fleet))
    read = read_fleet(path)
    service = open_server(fleet=read)
    client = TestClient(make_app(service), base_url="http://localhost")
    service.streams.configure(read.list_cameras())
    events = []
    for _ in range(3000):
        events = client.get("/v1/events?is_open=false").json()
        if events and events[0]["picture"] and events[0]["clip"]:
            break
        time.sleep(0.01)
    assert [(event["camera"], event["label"], event["cause"]) for event in events] == [
        ("door", "all", "over")
    ]
    assert client.get(events[0]["picture"]).content[:2] == b"\xff\xd8"
    assert client.get(events[0]["clip"]).content[:4] == b"\x1a\x45\xdf\xa3"  # Matroska
