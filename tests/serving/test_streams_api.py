"""Cameras over the API."""

import time
from io import BytesIO
from typing import ClassVar

import pytest
from PIL import Image
from starlette.testclient import TestClient

from co3d.engine.camera import Camera
from co3d.serving import streams
from co3d.serving.app import make_app
from co3d.serving.tokens import Role
from support.people import bearer
from support.videos import make_transport_stream


def wait_for(client: TestClient, path: str, key: str, value: object):
    for _ in range(400):
        found = client.get(path).json()
        if found.get(key) == value:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{path} gives {found}")


@pytest.fixture
def service(open_server, tmp_path):
    return open_server(state=tmp_path / "state", allowed_sources=("rtsp://127.0.0.0/8",))


@pytest.fixture
def client(service):
    return TestClient(make_app(service), base_url="http://localhost")


def test_a_configured_camera_is_listed_with_its_picture_and_timeline(service, client, video):
    service.streams.configure([Camera("door", str(video), threshold=0.0)])
    found = wait_for(client, "/v1/streams/door", "state", "ended")
    assert (found["id"], found["origin"], found["source"]) == ("door", "configured", None)
    assert found["counts"]["predictions"] == 12
    assert found["counts"]["dropped_frames"] == 0
    assert [one["id"] for one in client.get("/v1/streams").json()] == ["door"]
    assert client.get("/v1/streams/door", headers=bearer(Role.OPERATOR)).json()["source"] == str(
        video
    )
    # A label is not shown any more once its source is over, nor is the picture.
    assert client.get("/v1/streams/door/picture").status_code == 204
    runs = client.get("/v1/streams/door/timeline").json()
    assert {run["label"] for run in runs} <= set(client.get("/v1/server").json()["labels"])
    assert runs


def test_a_camera_without_room_is_refused_until_there_is_some(open_server, video, monkeypatch):
    monkeypatch.setattr(streams, "REFUSED_RETRY_SECONDS", 0.01)
    service = open_server(max_streams=1)
    client = TestClient(make_app(service), base_url="http://localhost")
    other = service.engine.join("other")
    service.streams.configure([Camera("door", str(video))])
    refused = wait_for(client, "/v1/streams/door", "state", "refused")
    assert "tried again every 0.01 s" in refused["cause"]
    other.close()
    ended = wait_for(client, "/v1/streams/door", "state", "ended")
    assert ended["counts"]["predictions"] == 12


def test_every_operation_documents_what_the_guard_may_answer(client):
    for path in client.get("/v1/openapi.json").json()["paths"].values():
        for operation in path.values():
            assert {"400", "403", "408", "413", "429"} <= set(operation["responses"])


def test_the_latest_picture_is_scaled_down(service, client, video):
    service.streams.configure([Camera("door", str(video))])
    entry = service.streams.find("door")
    kept = None
    for _ in range(400):
        kept = entry.latest or kept
        if kept is not None:
            break
        time.sleep(0.005)
    jpeg = entry.encode(kept, 32)
    assert Image.open(BytesIO(jpeg)).size[0] == 32
    assert entry.encode(kept, 32) is jpeg


def test_operators_pause_change_and_remove(service, client, video):
    service.streams.configure([Camera("door", str(video))])
    operator = bearer(Role.OPERATOR)
    assert client.patch("/v1/streams/door", json={"paused": True}).status_code == 403
    paused = client.patch("/v1/streams/door", json={"paused": True}, headers=operator)
    assert paused.json()["state"] == "paused"
    changed = client.patch("/v1/streams/door", json={"rate_hz": 4.0}, headers=operator)
    assert (changed.json()["state"], changed.json()["rate_hz"]) == ("paused", 4.0)
    assert client.patch("/v1/streams/door", json={"paused": False}, headers=operator).is_success
    assert wait_for(client, "/v1/streams/door", "state", "ended")["counts"]["predictions"] == 6
    assert client.delete("/v1/streams/door", headers=operator).status_code == 204
    assert client.get("/v1/streams/door").status_code == 404
    assert client.get("/v1/streams/door").json()["error"] == "UnknownStreamError"


def test_an_added_camera_survives_a_restart_and_hides_its_password(open_server, service, client):
    operator = bearer(Role.OPERATOR)
    source = "rtsp://me:secret@127.0.0.1:9/x"
    new = {"name": "gate", "source": source, "threshold": 0.5, "tls": "off"}
    assert client.post("/v1/streams", json=new).status_code == 403
    added = client.post("/v1/streams", json=new, headers=operator)
    assert added.status_code == 201
    assert added.headers["Location"] == "/v1/streams/gate"
    assert added.json()["source"] == "rtsp://me:***@127.0.0.1:9/x"
    assert client.post("/v1/streams", json=new, headers=operator).status_code == 409
    found = wait_for(client, "/v1/streams/gate", "state", "connecting")
    for _ in range(400):
        if found["cause"]:
            break
        found = client.get("/v1/streams/gate").json()
        time.sleep(0.01)
    assert "gate" in found["cause"]
    assert "127.0.0.1" not in found["cause"]
    client.patch("/v1/streams/gate", json={"paused": True}, headers=operator)
    assert "secret" not in client.get("/v1/streams", headers=operator).text
    assert "secret" not in client.get("/metrics").text
    second = open_server(state=service.settings.state, allowed_sources=("rtsp://127.0.0.0/8",))
    second.streams.restore_saved()
    entry = second.streams.find("gate")
    assert (entry.camera.threshold, entry.is_paused, entry.is_added) == (0.5, True, True)
    assert (entry.camera.source, entry.camera.tls) == (source, "off")


def test_a_full_machine_refuses_and_says_when_to_try_again(open_server, tmp_path):
    service = open_server(load_limit=1e-9, allowed_sources=("rtsp://127.0.0.0/8",))
    client = TestClient(make_app(service), base_url="http://localhost")
    new = {"name": "gate", "source": "rtsp://127.0.0.1:9/x"}
    refused = client.post("/v1/streams", json=new, headers=bearer(Role.OPERATOR))
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert refused.json()["error"] == "EngineFullError"
    assert client.get("/v1/streams").json() == []


def test_a_stream_continues_from_a_snapshot(service, client, video):
    service.streams.configure([Camera("door", str(video)), Camera("yard", str(video))])
    wait_for(client, "/v1/streams/door", "state", "ended")
    admin = bearer(Role.ADMIN)
    assert client.get("/v1/streams/door/snapshot").status_code == 403
    ended = client.get("/v1/streams/door/snapshot", headers=admin)
    assert (ended.status_code, ended.json()["error"]) == (409, "StreamError")
    with service.engine.join("made by hand", policy="every") as track:
        path = service.settings.state / "made.safetensors"
        track.snapshot().save(path)
    headers = {**admin, "Content-Type": "application/octet-stream"}
    put = client.put("/v1/streams/door/snapshot", content=path.read_bytes(), headers=headers)
    assert put.status_code == 204
    assert wait_for(client, "/v1/streams/door", "state", "ended")["counts"]["predictions"] == 12
    broken = client.put("/v1/streams/door/snapshot", content=b"no", headers=headers)
    assert (broken.status_code, broken.json()["error"]) == (409, "StreamError")
    assert client.put("/v1/streams/door/snapshot", content=b"x", headers=admin).status_code == 415


def test_names_with_special_characters_get_ids_that_fit_urls(service, client, video):
    service.streams.configure([Camera("Tür/../ 1", str(video))])
    [found] = client.get("/v1/streams").json()
    assert found["name"] == "Tür/../ 1"
    assert client.get(f"/v1/streams/{found['id']}").json()["name"] == "Tür/../ 1"


def test_health_and_metrics(service, client, video):
    service.streams.configure([Camera("door", str(video))])
    wait_for(client, "/v1/streams/door", "state", "ended")
    assert client.get("/healthz").json() == {"ok": True, "faults": []}
    assert client.get("/readyz").status_code == 200
    text = client.get("/metrics").text
    assert 'co3d_stream_predictions_total{stream="door"} 12.0' in text
    assert 'co3d_stream_up{stream="door"} 0.0' in text
    service.is_ending = True
    assert client.get("/readyz").status_code == 503


def test_jumps_back_and_changes_of_size_are_counted(service, client, tmp_path):
    path = tmp_path / "odd.ts"
    later = make_transport_stream(tmp_path / "a.ts", 16, start_seconds=1000.0)
    path.write_bytes(later + make_transport_stream(tmp_path / "b.ts", 16, size=(160, 96)))
    service.streams.configure([Camera("door", str(path))])
    counts = wait_for(client, "/v1/streams/door", "state", "ended")["counts"]
    assert (counts["jumps_back"], counts["size_changes"]) == (1, 1)
    text = client.get("/metrics").text
    assert 'co3d_stream_jumps_back_total{stream="door"} 1.0' in text
    assert 'co3d_stream_size_changes_total{stream="door"} 1.0' in text


def test_an_engine_that_makes_no_step_is_not_healthy(service, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("co3d.serving.service.time.monotonic", lambda: now[0])

    class Metrics:
        pictures, steps = 3, 3

    class Track:
        metrics = staticmethod(Metrics)

    class Engine:
        tracks: ClassVar = {"door": Track()}

    monkeypatch.setattr(service.progress, "_engine", Engine)
    assert service.progress.find_stuck() == []
    Metrics.pictures = 9
    now[0] = 5
    assert service.progress.find_stuck() == []
    now[0] = 20
    assert service.progress.find_stuck() == ["door"]
    Metrics.steps = 4
    assert service.progress.find_stuck() == []


def test_an_unwritable_state_folder_is_reported_and_streams_continue(service, client):
    (service.settings.state / "streams.json").mkdir()
    new = {"name": "gate", "source": "rtsp://127.0.0.1:9/x"}
    told = client.post("/v1/streams", json=new, headers=bearer(Role.OPERATOR))
    assert (told.status_code, told.json()["error"]) == (507, "OutputError")
    assert [one["id"] for one in client.get("/v1/streams").json()] == ["gate"]
