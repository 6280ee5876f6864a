"""Attacks by strangers are refused, and what the server answers to them."""

import logging
import socket
import struct
import threading
import time
from io import BytesIO

import pytest
from PIL import Image
from starlette.testclient import TestClient
from websockets.exceptions import InvalidStatus

from co3d.engine import SourceChanged
from co3d.engine.camera import Camera
from co3d.errors import NotAVideoError, OptionError, VideoLimitError
from co3d.serving.app import make_app
from co3d.serving.live_session import HEADER
from co3d.serving.pictures import decode_jpeg
from co3d.serving.settings import ServingLimits
from co3d.serving.tokens import Role, add_token
from co3d.video import SourceState, read_video
from co3d.video.allowance import Allowance
from support.people import TOKENS, bearer
from support.servers import send, serve
from support.serving import run_service, talk

CAMERAS = Allowance(["rtsp://10.0.0.0/8", "http://10.0.0.0/8", "http://fd00::/8"])


@pytest.fixture
def service(open_server, tmp_path):
    add_token(tmp_path / "tokens.json", "somebody", "viewer")
    return open_server(
        tokens=tmp_path / "tokens.json",
        allowed_sources=("rtsp://10.0.0.0/8",),
        limits=ServingLimits(body_seconds=0.3),
    )


@pytest.fixture
def client(service):
    return TestClient(make_app(service), base_url="http://localhost")


def try_source(client: TestClient, source: str):
    new = {"name": "gate", "source": source}
    return client.post("/v1/streams", json=new, headers=bearer(Role.OPERATOR))


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://127.0.0.1/x",
        "rtsp://localhost/x",
        "rtsp://2130706433/x",  # 127.0.0.1 as an integer
        "rtsp://0x7f.1/x",
        "rtsp://0177.0.0.1/x",
        "rtsp://[::1]/x",
        "rtsp://[::ffff:127.0.0.1]/x",
        "rtsp://169.254.169.254/latest/meta-data",
        "rtsp://10.0.0.1@127.0.0.1/x",
        "rtsp://[::1/x",
        "http://10.0.0.1/x",
        "file:///etc/passwd",
        "/etc/passwd",
        "0",
        "-",
        "/dev/video0",
        "concat:/etc/passwd|/etc/group",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "exec:cat /etc/passwd",
    ],
)
def test_a_source_that_is_not_allowed_is_refused(service, client, source):
    refused = try_source(client, source)
    assert refused.status_code == 422
    assert refused.json()["error"] == "NotAVideoError"
    assert client.get("/v1/streams", headers=bearer(Role.VIEWER)).json() == []


def resolve_to(monkeypatch, *answers: str) -> None:
    """Let names resolve to one IP after another."""
    left = list(answers)

    def resolve(host, *_more, **_options):
        number = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 0))]

    monkeypatch.setattr("co3d.video.allowance.socket.getaddrinfo", resolve)


def test_a_name_that_changes_its_ip_is_opened_by_the_checked_ip(monkeypatch):
    resolve_to(monkeypatch, "10.0.0.7", "127.0.0.1")
    pinned = CAMERAS.pin("rtsp://me:secret@camera.example:554/x")
    assert pinned.address == "rtsp://me:secret@10.0.0.7:554/x"
    assert pinned.host == "camera.example:554"
    with pytest.raises(NotAVideoError) as refused:  # raised on reconnecting
        CAMERAS.pin("rtsp://me:secret@camera.example:554/x")
    assert "secret" not in str(refused.value)


def test_a_redirect_may_not_leave_the_allowance():
    asked: list[str] = []

    def answer(handler, _number):
        asked.append(handler.path)
        if handler.path == "/inside":
            send(handler, b"secret", 6)
            return
        handler.send_response(302)
        handler.send_header("Location", f"http://[::1]:{handler.server.server_port}/inside")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serve(answer) as url:
        allowed = Allowance(["http://127.0.0.0/8"])
        with pytest.raises(NotAVideoError, match="no network that is allowed"):
            read_video(url, reconnect_seconds=0, allowance=allowed)
        loop = Allowance(["http://127.0.0.0/8", "http://::1"])
        assert loop.pin("http://[::1]:8/x").address == "http://[::1]:8/x"
    assert asked == ["/video"]


def test_every_ip_of_an_address_must_be_allowed(monkeypatch):
    both = [(2, 1, 6, "", ("10.0.0.1", 0)), (2, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("co3d.video.allowance.socket.getaddrinfo", lambda *_, **__: both)
    with pytest.raises(NotAVideoError):
        CAMERAS.pin("http://camera.example/x")


@pytest.mark.parametrize("place", ["rtsp://camera.example", "file:///etc", "10.0.0.0/8", "rtsp://"])
def test_allowed_sources_that_are_no_networks_are_refused(place):
    with pytest.raises(OptionError):
        Allowance([place])


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/page/....//app.py",
        "/page//etc/passwd",
        "/page/index.html%00.js",
        "/v1/streams/..%2f..%2fetc",
        "/v1/events/..%2f..%2fetc/picture",
    ],
)
def test_page_paths_open_no_other_file(client, path):
    assert client.get(path, headers=bearer(Role.ADMIN)).status_code in (404, 422)


def test_too_large_a_body_is_refused(client):
    body = b'{"token": "' + b"a" * 70_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/session", content=body, headers=headers).status_code == 413
    pieces = client.post("/v1/session", content=iter([body]), headers=headers)
    assert pieces.status_code == 413
    restoring = "/v1/streams/door/snapshot"  # larger, but for admins only
    headers = {**bearer(Role.OPERATOR), "Content-Type": "application/octet-stream"}
    assert client.put(restoring, content=body, headers=headers).status_code == 413


def test_deeply_nested_json_is_refused(client):
    headers = {"Content-Type": "application/json"}
    refused = client.post("/v1/session", content=b"[" * 60_000, headers=headers)
    assert refused.status_code in (400, 422)


def make_jpeg_header(width: int, height: int) -> bytes:
    """The beginning of a JPEG that claims a size."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def test_a_picture_bomb_is_refused_by_its_header():
    began = time.process_time()
    with pytest.raises(VideoLimitError, match="pixels"):
        decode_jpeg(make_jpeg_header(60_000, 60_000), ServingLimits().pixels)
    assert time.process_time() - began < 0.5  # it takes no memory, either


def test_other_kinds_of_pictures_are_refused():
    for kind in ("PNG", "GIF", "TIFF", "WEBP", "BMP"):
        content = BytesIO()
        Image.new("RGB", (4, 4)).save(content, kind)
        with pytest.raises(NotAVideoError):
            decode_jpeg(content.getvalue(), 100)


def test_a_picture_bomb_ends_neither_session_nor_server(open_server):
    with run_service(open_server()) as url, talk(url, "/v1/live") as live:
        live.send_json({"type": "start"})
        live.receive_json()
        live.send(HEADER.pack(0.0) + make_jpeg_header(60_000, 60_000))
        assert live.receive_json()["error"] == "VideoLimitError"


def test_wrong_tokens_are_slowed_down(service, client):
    tries = [client.post("/v1/session", json={"token": f"guess {n}"}) for n in range(7)]
    assert [one.status_code for one in tries] == [401] * 5 + [429] * 2
    assert int(tries[-1].headers["Retry-After"]) >= 1
    by_header = client.get("/v1/streams", headers={"Authorization": "Bearer guess"})
    assert by_header.status_code == 429
    right = client.post("/v1/session", json={"token": TOKENS[Role.VIEWER]})
    assert right.status_code == 200  # a client that shares its address with a guesser


def test_callers_without_a_token_are_refused(service, client):
    for path in ("/v1/streams", "/v1/events", "/metrics", "/v1/streams/door/picture"):
        assert client.get(path).status_code == 401
    assert client.get("/v1/server").json()["labels"] == {}
    with run_service(service) as url, talk(url, "/v1/feed") as feed:
        assert feed.receive_end() == 1008


def test_a_browser_session_needs_its_csrf_token_for_changes(client):
    signed_in = client.post("/v1/session", json={"token": TOKENS[Role.OPERATOR]})
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKENS[Role.OPERATOR] not in cookie
    assert client.get("/v1/streams").status_code == 200
    gate = {"name": "gate", "source": "rtsp://127.0.0.1/x"}
    assert client.post("/v1/streams", json=gate).status_code == 403
    wrong = client.post("/v1/streams", json=gate, headers={"X-CSRF-Token": "wrong"})
    assert wrong.status_code == 403
    right = {"X-CSRF-Token": signed_in.json()["csrf"]}
    assert client.post("/v1/streams", json=gate, headers=right).status_code == 422
    assert client.delete("/v1/session", headers=right).status_code == 204
    assert client.get("/v1/streams").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_of_other_sites_pages_are_refused(client, headers):
    given = {**headers, **bearer(Role.OPERATOR)}
    assert client.post("/v1/live/offer", json={}, headers=given).status_code == 403


def test_other_sites_pages_open_no_websocket(service):
    with run_service(service) as url:
        for path in ("/v1/live", "/v1/feed"):
            foreign = {"Origin": "https://evil.example", **bearer(Role.OPERATOR)}
            with pytest.raises(InvalidStatus) as refused, talk(url, path, foreign):
                pass
            assert refused.value.response.status_code == 403
            with talk(url, path, {"Origin": url.rstrip("/"), **bearer(Role.OPERATOR)}):
                pass


def test_an_unknown_host_name_is_refused(client):
    assert client.get("/v1/server", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/v1/server", headers={"Host": "localhost@evil.example"}).status_code == 400
    assert client.get("/v1/server", headers={"Host": "localhost:1"}).status_code == 200


def test_the_page_forbids_foreign_scripts_and_frames(client):
    headers = client.get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in client.get("/").text


def exchange(url: str, request: bytes) -> bytes:
    """Send bytes to a server; returns the answer until it closes or two seconds have passed."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except TimeoutError:
            pass
        return answer


def test_a_client_that_is_refused_gets_the_answer_though_it_still_sends(service):
    head = b"POST /v1/live/offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    with run_service(service) as url:
        for _ in range(20):
            answer = exchange(url, head % 900_000 + b"\r\n" + bytes(900_000))
            assert answer.startswith(b"HTTP/1.1 413")
            assert b"at most 65536 bytes" in answer
        # A client that asks first sends nothing, and is told at once.
        asked = exchange(url, head % 900_000 + b"Expect: 100-continue\r\n\r\n")
        assert asked.startswith(b"HTTP/1.1 413")


def test_smuggled_headers_and_slow_bodies_are_refused(service, caplog):
    head = b"POST /v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    inner = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with run_service(service) as url, caplog.at_level(logging.DEBUG):
        both = exchange(
            url,
            head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(inner) + inner,
        )
        assert both.startswith(b"HTTP/1.1 400")
        assert both.count(b"HTTP/1.1 ") == 1
        two = exchange(url, head + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
        assert two.startswith(b"HTTP/1.1 400")
        hosts = exchange(url, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n")
        assert hosts.startswith(b"HTTP/1.1 400")
        folded = exchange(url, b"GET /x%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"\r\nset-cookie" not in folded.lower()
        slow = exchange(url, head + b"Content-Length: 10\r\n\r\n{")
        assert slow.startswith(b"HTTP/1.1 408")
        spoofed = exchange(
            url,
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n"
            b"X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
        )
        assert spoofed.startswith(b"HTTP/1.1 401")
        forged = exchange(
            url,
            b"GET /v1/streams/a%0aERROR%3A%20all%20is%20lost%1b[2J HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer secret-token-in-a-log\r\nConnection: close\r\n\r\n",
        )
        assert forged.startswith(b"HTTP/1.1 401")
    assert "all is lost" not in caplog.text
    assert "secret-token-in-a-log" not in caplog.text


def test_a_slow_request_head_times_out(service, monkeypatch):
    monkeypatch.setattr("co3d.serving.head_timeout.HEAD_SECONDS", 0.1)
    with run_service(service) as url:
        began = time.monotonic()
        assert exchange(url, b"") == b""
        assert exchange(url, b"GET / HTTP/1.1\r\nHost: loc") == b""
        assert time.monotonic() - began < 8  # instead of 20


def test_too_many_requests_are_refused(open_server):
    limits = ServingLimits(requests_per_second=0.01, request_burst=3)
    client = TestClient(make_app(open_server(limits=limits)), base_url="http://localhost")
    statuses = [client.get("/readyz").status_code for _ in range(5)]
    assert statuses == [200] * 3 + [429] * 2


def test_a_stuck_client_is_disconnected_while_others_are_served(open_server):
    limits = ServingLimits(stuck_seconds=0.2, waiting_messages=4)
    service = open_server(limits=limits)
    service.streams.configure([Camera("door", "rtsp://127.0.0.1:9/x")])
    with run_service(service) as url:
        host, port = url.removeprefix("http://").strip("/").split(":")
        with socket.create_connection((host, int(port))) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(
                b"GET /v1/feed HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            flood = SourceChanged("door", SourceState("live", "x" * 65536))
            deadline = time.monotonic() + 15
            while not service.counters.cut_clients and time.monotonic() < deadline:
                for listener in service.streams.listeners:
                    listener(flood)
                threading.Event().wait(0.01)
        assert service.counters.cut_clients == 1
        request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert exchange(url, request).startswith(b"HTTP/1.1 200")
    assert service.counters.lost_messages > 0
