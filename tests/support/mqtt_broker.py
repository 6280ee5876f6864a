"""An MQTT 3.1.1 broker on the loopback interface, as far as publishers need one.

Who subscribes gets what is retained, and nothing that comes later.
"""

import re
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from support.servers import run_server

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14
REFUSED_USER = 4


@dataclass
class Broker:
    """What was published.

    Attributes:
        port: where it listens.
        published: (topic, payload, whether it is to be retained), in order, wills too.
        retained: the latest such payload by topic.
        users: names with passwords; None lets everybody in.
        acknowledges: whether it says that it has a message.
    """

    port: int = 0
    published: list[tuple[str, bytes, bool]] = field(default_factory=list)
    retained: dict[str, bytes] = field(default_factory=dict)
    users: dict[str, str] | None = None
    acknowledges: bool = True
    connections: list[socketserver.BaseRequestHandler] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:
        self.published.append((topic, payload, retain))
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)

    def find_retained(self, pattern: str) -> list[tuple[str, bytes]]:
        """Topics in which + stands for any level, and what is retained there."""
        expression = re.compile("[^/]*".join(map(re.escape, pattern.split("+"))))
        return [one for one in self.retained.items() if expression.fullmatch(one[0])]

    def wait_for(self, condition: Callable[["Broker"], bool], seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < until, self.published
            time.sleep(0.005)

    def drop_connections(self) -> None:
        """Break off without a word."""
        for connection in self.connections:
            with suppress(OSError):
                connection.request.shutdown(2)


@contextmanager
def serve_mqtt(broker: Broker) -> Iterator[Broker]:
    lock = threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            broker.connections.append(self)
            will: tuple[str, bytes, bool] | None = None
            with suppress(OSError, EOFError):
                while True:
                    kind, flags, body = self._read()
                    if kind == CONNECT:
                        will, code = self._connect(body)
                        self._write(CONNACK, bytes([0, code]))
                        if code:
                            return
                    elif kind == PUBLISH:
                        topic, rest = take_text(body)
                        quality = flags >> 1 & 3
                        number, payload = (rest[:2], rest[2:]) if quality else (b"", rest)
                        with lock:
                            broker.publish(topic.decode(), payload, bool(flags & 1))
                        if quality and broker.acknowledges:
                            self._write(PUBACK, number)
                    elif kind == SUBSCRIBE:
                        pattern, _ = take_text(body[2:])
                        self._write(SUBACK, body[:2] + b"\0")
                        with lock:
                            retained = broker.find_retained(pattern.decode())
                        for topic, payload in retained:
                            name = topic.encode()
                            length = struct.pack(">H", len(name))
                            self._write(PUBLISH, length + name + payload, flags=1)
                    elif kind == PINGREQ:
                        self._write(PINGRESP, b"")
                    elif kind == DISCONNECT:
                        return
            if will is not None:
                with lock:
                    broker.publish(*will)

        def _connect(self, body: bytes) -> tuple[tuple[str, bytes, bool] | None, int]:
            protocol, rest = take_text(body)
            assert protocol == b"MQTT"
            flags, rest = rest[1], rest[4:]
            _client_id, rest = take_text(rest)
            will = None
            if flags & 4:
                topic, rest = take_text(rest)
                payload, rest = take_text(rest)
                will = topic.decode(), payload, bool(flags & 32)
            user = password = b""
            if flags & 128:
                user, rest = take_text(rest)
            if flags & 64:
                password, rest = take_text(rest)
            known = broker.users is None or broker.users.get(user.decode()) == password.decode()
            return will, 0 if known else REFUSED_USER

        def _read(self) -> tuple[int, int, bytes]:
            head = self._take(1)[0]
            length = shift = 0
            while True:
                digit = self._take(1)[0]
                length |= (digit & 127) << shift
                shift += 7
                if not digit & 128:
                    return head >> 4, head & 15, self._take(length)

        def _take(self, count: int) -> bytes:
            data = self.rfile.read(count)
            if len(data) < count:
                raise EOFError
            return data

        def _write(self, kind: int, body: bytes, flags: int = 0) -> None:
            length, digits = len(body), bytearray()
            while length > 127:
                digits.append(length & 127 | 128)
                length >>= 7
            self.wfile.write(bytes([kind << 4 | flags, *digits, length]) + body)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    with run_server(Server(("127.0.0.1", broker.port), Handler)) as broker.port:
        yield broker
        broker.drop_connections()


def take_text(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">H", data[:2])
    return data[2 : 2 + length], data[2 + length :]
