"""A web server and an MQTT broker for `soak_events.py`, which can be away, and what they got."""

import json
import socket
import subprocess
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Taken:
    """What a receiver took, in order: (number, event id, camera)."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str, str]] = []
        self.repeats = 0

    def add(self, text: bytes | str) -> None:
        """Take a record as JSON."""
        values = json.loads(text)
        self.records.append((values["number"], values["id"], values["camera"]))

    def check(self, committed: dict[int, tuple[str, str]], name: str) -> None:
        """Compare with what was committed: nothing missing, in order, the same ids."""
        ids: dict[int, str] = {}
        newest: dict[str, int] = defaultdict(int)
        self.repeats = 0
        for number, event_id, camera in self.records:
            if number in ids:
                self.repeats += 1
                assert ids[number] == event_id, f"{name}: record {number} has another id"
                continue
            ids[number] = event_id
            assert number > newest[camera], f"{name}: record {number} of {camera} comes too late"
            newest[camera] = number
        wanted = {number: event_id for number, (event_id, _) in committed.items()}
        missing = wanted.keys() - ids.keys()
        assert not missing, f"{name}: {len(missing)} records never came: {sorted(missing)[:9]}"
        assert ids == wanted, f"{name}: ids differ"


class Receivers:
    """A web server and a broker that can be away, and what came to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = (find_port(), find_port())
        self.hook, self.mqtt, self.lines = Taken(), Taken(), Taken()
        self._server: ThreadingHTTPServer | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "mosquitto.conf").write_text(
            f"listener {self.ports[1]} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 0\nuser root\n"
        )
        self.start()
        self._subscribe()

    def start(self) -> None:
        """Be there."""
        hook = self.hook

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                hook.add(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Print nothing: a connection may break because its client was killed."""

        self._server = Server(("127.0.0.1", self.ports[0]), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._broker = subprocess.Popen(
            ["mosquitto", "-c", str(self.folder / "mosquitto.conf")], stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """Be away."""
        assert self._server is not None
        assert self._broker is not None
        self._server.shutdown()
        self._server.server_close()
        self._broker.terminate()
        self._broker.wait()

    def close(self) -> None:
        """Be away for good."""
        self._client.loop_stop()
        self.stop()

    def _subscribe(self) -> None:
        from paho.mqtt import client as mqtt

        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="soak", clean_session=False
        )
        ready = threading.Event()
        client.on_connect = lambda client, *_: client.subscribe("co3d/events", 1)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _client, _data, message: self.mqtt.add(message.payload)
        client.reconnect_delay_set(1, 1)
        client.connect_async("127.0.0.1", self.ports[1])
        client.loop_start()
        assert ready.wait(20), "mosquitto does not answer"
        self._client = client


def find_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
