"""A server on the loopback interface, in a thread of the test, and a client of its WebSockets."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from co3d.serving.run import find_url, make_server, open_socket
from co3d.serving.service import Service


@contextmanager
def run_service(service: Service) -> Iterator[str]:
    """Serve until the block ends; the address. The service is left open."""
    settings = replace(service.settings, port=0)
    listener = open_socket(settings)
    ready = threading.Event()
    server = make_server(service, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(20)
        yield find_url(settings, listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Talker:
    """A WebSocket in JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.send = connection.send

    def send_json(self, message: object) -> None:
        self._connection.send(json.dumps(message))

    def receive(self) -> str | bytes:
        return self._connection.recv(timeout=20)

    def receive_json(self) -> dict:
        return json.loads(self.receive())

    def receive_end(self) -> int:
        """The code with which the server closes, at once."""
        with pytest.raises(ConnectionClosed) as closed:
            self.receive()
        return closed.value.rcvd.code if closed.value.rcvd else 0


@contextmanager
def talk(url: str, path: str, headers: dict[str, str] | None = None) -> Iterator[Talker]:
    """Open a WebSocket."""
    address = url.rstrip("/").replace("http", "ws", 1) + path
    with connect(address, additional_headers=headers, proxy=None) as connection:
        yield Talker(connection)
