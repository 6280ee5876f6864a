"""The server's API over a fleet of two engines."""

import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from co3d.fleet.fleet_service import open_fleet_service
from co3d.serving.app import make_app
from co3d.serving.live_session import HEADER
from co3d.serving.pictures import encode_jpeg
from co3d.serving.settings import ServerSettings
from co3d.serving.tokens import Role
from support.people import PEOPLE, bearer
from support.servers import serve

BOUNDARY = b"--picture\r\nContent-Type: image/jpeg\r\n\r\n"
JPEGS = [
    encode_jpeg(np.random.default_rng(n).integers(0, 256, (48, 64, 3), np.uint8), 64)
    for n in range(40)
]


@pytest.fixture
def client(fleet):
    for _ in range(2):
        fleet.add_engine(max_streams=1)
    settings = ServerSettings(allowed_sources=("http://127.0.0.0/8",))
    facts = fleet.handles[0].host.describe_network()
    service = open_fleet_service(settings, fleet.registry, facts, PEOPLE)
    yield TestClient(make_app(service), base_url="http://localhost", headers=bearer(Role.OPERATOR))
    service.close()


@pytest.fixture
def camera():
    """A camera that sends pictures without an end."""

    def answer(handler, _number):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        handler.end_headers()
        for number in range(2000):
            handler.wfile.write(BOUNDARY + JPEGS[number % len(JPEGS)] + b"\r\n")
            time.sleep(0.05)

    with serve(answer) as url:
        yield url


def test_cameras_are_added_listed_read_changed_and_removed(client, fleet, camera, wait_until):
    for name in ("door", "yard"):
        answer = client.post("/v1/streams", json={"name": name, "source": camera})
        assert answer.status_code == 201
        fleet.report()
    assert [len(handle.host.report().cameras) for handle in fleet.handles] == [1, 1]
    assert client.post("/v1/streams", json={"name": "door", "source": camera}).status_code == 409
    for name in ("door", "yard"):
        wait_until(lambda name=name: client.get(f"/v1/streams/{name}").json()["state"] == "live")
    answer = client.post("/v1/streams", json={"name": "hall", "source": camera})
    assert (answer.status_code, answer.json()["error"]) == (503, "EngineFullError")
    wait_until(lambda: client.get("/v1/streams/door/picture").status_code == 200)
    found = {one["id"]: one for one in client.get("/v1/streams").json()}
    assert set(found) == {"door", "yard"}
    assert not found["door"]["restarted"]
    assert client.patch("/v1/streams/door", json={"paused": True}).json()["state"] == "paused"
    assert client.delete("/v1/streams/door").status_code == 204
    assert client.get("/v1/streams/door").status_code == 404
    assert [len(handle.host.report().cameras) for handle in fleet.handles].count(0) == 1


def test_pictures_in_predictions_out(client):
    assert client.get("/v1/server").json()["network"] == "camera_motion"
    with client.websocket_connect("ws://localhost/v1/live") as socket:
        socket.send_json({"type": "start", "format": "jpeg"})
        assert socket.receive_json()["type"] == "ready"
        for number in range(14):
            socket.send_bytes(HEADER.pack(number / 8) + JPEGS[number])
            if number > 4:
                message = socket.receive_json()
                assert message["type"] == "prediction"
                assert message["stream"] == "visitor 1"
                assert not message["restarted"]
        assert message["valid"]
