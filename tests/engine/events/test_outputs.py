"""Outputs, each tested against a real receiver on this machine."""

import hashlib
import hmac
import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from co3d.engine.events.outputs.command import CommandOutput
from co3d.engine.events.outputs.folder import FolderOutput
from co3d.engine.events.outputs.json_lines import JsonLinesOutput
from co3d.engine.events.outputs.output import FailedDeliveryError, RefusedDeliveryError
from co3d.engine.events.outputs.webhook import WebhookOutput
from co3d.errors import OutputError
from support.event_samples import end, make_delivery, make_event
from support.servers import run_server

GOING_ON = threading.Event()


@pytest.fixture
def media(tmp_path):
    """An outbox's folder with the picture of an event."""
    folder = tmp_path / "outbox"
    (folder / "media").mkdir(parents=True)
    event = make_event()
    event = replace(event, picture=f"{event.id}.jpg")
    (folder / "media" / event.picture).write_bytes(b"a picture")
    return folder, event


def test_lines_are_appended_and_survive_a_torn_one(tmp_path, capsys):
    path = tmp_path / "events.jsonl"
    output = JsonLinesOutput(path)
    output.check()
    event = make_event()
    output.deliver(make_delivery(tmp_path, event), GOING_ON)
    path.write_bytes(path.read_bytes() + b'{"torn')
    output.deliver(make_delivery(tmp_path, end(event), "end", 2), GOING_ON)
    first, torn, last = path.read_text().splitlines()
    assert json.loads(first) == make_delivery(tmp_path, event).record.as_dict()
    assert (torn, json.loads(last)["number"]) == ('{"torn', 2)
    JsonLinesOutput(None).deliver(make_delivery(tmp_path, event), GOING_ON)
    assert json.loads(capsys.readouterr().out)["id"] == event.id


def test_lines_that_cannot_be_written_are_retried(tmp_path):
    output = JsonLinesOutput(tmp_path / "nowhere" / "events.jsonl")
    with pytest.raises(FailedDeliveryError, match="No such file"):
        output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    with pytest.raises(OutputError, match="choose another file"):
        output.check()


def test_a_folder_has_json_picture_and_clip(tmp_path, media):
    folder, event = media
    event = replace(event, camera="door/../../x")
    output = FolderOutput(tmp_path / "out")
    output.check()
    assert list((tmp_path / "out").iterdir()) == []
    output.deliver(make_delivery(folder, replace(event, picture=None)), GOING_ON)
    (target,) = (tmp_path / "out").iterdir()
    assert target.name == f"1970-01-01T00-01-40Z_door_.._.._x_falls_{event.id}"
    assert json.loads((target / "event.json").read_text())["picture"] is None
    for _ in range(2):  # it may come again
        output.deliver(make_delivery(folder, end(event), "end", 2), GOING_ON)
    said = json.loads((target / "event.json").read_text())
    assert (said["picture"], said["clip"], said["cause"]) == ("picture.jpg", None, "below")
    assert (target / "picture.jpg").read_bytes() == b"a picture"
    assert len(list(target.iterdir())) == 2


def write_program(tmp_path, text):
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_program_gets_the_event_and_no_shell(tmp_path, media):
    folder, event = media
    program = write_program(tmp_path, f'cat > "{tmp_path}/got"; echo "$1" > "{tmp_path}/arg"')
    CommandOutput([program, "$(id); *"]).deliver(make_delivery(folder, event), GOING_ON)
    got = json.loads((tmp_path / "got").read_text())
    assert (got["id"], got["picture_path"]) == (event.id, str(folder / "media" / event.picture))
    assert (tmp_path / "arg").read_text() == "$(id); *\n"


def test_a_program_that_fails_says_why(tmp_path):
    program = write_program(tmp_path, "echo no lamp >&2; exit 3")
    with pytest.raises(FailedDeliveryError, match="ended with code 3: no lamp"):
        CommandOutput([program]).deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    with pytest.raises(OutputError, match="no such program"):
        CommandOutput(["/nowhere/program"]).check()


@pytest.mark.parametrize(("limit_seconds", "said"), [(0.2, "killed after 0.2 s"), (60, "stopped")])
def test_a_hanging_program_is_killed_with_its_children(tmp_path, limit_seconds, said):
    program = write_program(tmp_path, f'sleep 30 & echo $! > "{tmp_path}/child"; wait')
    stopping = threading.Event()
    if said == "stopped":
        threading.Timer(0.2, stopping.set).start()
    began = time.monotonic()
    with pytest.raises(FailedDeliveryError, match=said):
        CommandOutput([program], limit_seconds).deliver(
            make_delivery(tmp_path, make_event()), stopping
        )
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                break  # its new parent has not looked yet
        except FileNotFoundError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("what it started goes on")


@pytest.fixture
def receiver():
    """A web server that responds with the statuses in `answers`, then 204, and stores requests."""

    class Server(ThreadingHTTPServer):
        answers: list[tuple[int, dict[str, str]]]
        requests: list[tuple[dict[str, str], bytes]]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.requests.append((dict(self.headers), body))
            code, headers = server.answers.pop(0) if server.answers else (204, {})
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.answers, server.requests = [], []
    with run_server(server) as port:
        server.url = f"http://127.0.0.1:{port}/hook/PRIVATE"
        yield server


def test_a_webhook_is_signed(receiver, tmp_path):
    output = WebhookOutput(
        receiver.url, "key", {"Authorization": "Bearer token"}, clock=lambda: 1234.9
    )
    event = make_event()
    for number in (7, 7, 8):
        output.deliver(make_delivery(tmp_path, event, number=number), GOING_ON)
    output.close()
    headers, body = receiver.requests[0]
    assert json.loads(body) == make_delivery(tmp_path, event, number=7).record.as_dict()
    expected = hmac.new(b"key", b"1234." + body, hashlib.sha256).hexdigest()
    assert headers["Co3d-Signature"] == f"t=1234,v1={expected}"
    assert (headers["Authorization"], headers["Content-Type"]) == (
        "Bearer token", "application/json"
    )  # fmt: skip
    keys = [headers["Idempotency-Key"] for headers, _ in receiver.requests]
    assert keys == [f"{event.id}-7", f"{event.id}-7", f"{event.id}-8"]


@pytest.mark.parametrize(
    ("answer", "kind", "after_seconds"),
    [
        ((500, {}), FailedDeliveryError, 0),
        ((404, {}), FailedDeliveryError, 0),
        ((429, {"Retry-After": "7"}), FailedDeliveryError, 7),
        ((302, {"Location": "http://127.0.0.1:9/elsewhere"}), FailedDeliveryError, 0),
        ((422, {}), RefusedDeliveryError, 0),
    ],
)
def test_statuses_of_a_webhook(receiver, tmp_path, answer, kind, after_seconds):
    receiver.answers.append(answer)
    output = WebhookOutput(receiver.url)
    with pytest.raises(kind, match=f"answered {answer[0]}") as caught:
        output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    output.close()
    assert getattr(caught.value, "after_seconds", 0) == after_seconds
    assert "PRIVATE" not in str(caught.value)
    assert len(receiver.requests) == 1


def test_an_unreachable_webhook_does_not_show_its_secret(tmp_path):
    output = WebhookOutput("http://me:pass@127.0.0.1:9/PRIVATE?token=x")
    with pytest.raises(FailedDeliveryError, match=r"^http://127.0.0.1:9: there is no connection$"):
        output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    with pytest.raises(OutputError, match=r"cannot reach .* http://127\.0\.0\.1:9: ") as error:
        output.check()
    assert "PRIVATE" not in str(error.value)
