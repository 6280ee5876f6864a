"""Messages between the server and its media process: JSON and bytes, never code."""

import contextlib
import json
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

HEADER = struct.Struct(">I")
MOST_WAITING = 64
Taker = Callable[[dict[str, Any], memoryview], None]


class FramedPipe:
    """One end of a pipe, with a reading and a writing thread.

    Sending never blocks. When more than 64 messages are queued, the oldest of those that may be
    lost are dropped.

    Args:
        connection: this end.
        take: called with each message, in the reading thread.
        on_end: called once the other end is gone, in the reading thread.
    """

    def __init__(self, connection: Connection, take: Taker, on_end: Callable[[], object]) -> None:
        self._connection, self._take, self._on_end = connection, take, on_end
        self._waiting: deque[tuple[bytes, bytes, bool]] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._writer = threading.Thread(target=self._write, name="co3d media writes", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="co3d media reads", daemon=True).start()

    def send(
        self, message: dict[str, Any], content: bytes = b"", *, may_be_lost: bool = False
    ) -> None:
        """Send a message soon."""
        text = json.dumps(message).encode()
        with self._changed:
            if may_be_lost and len(self._waiting) >= MOST_WAITING:
                self._lose_one()
            self._waiting.append((HEADER.pack(len(text)) + text, content, may_be_lost))
            self._changed.notify()

    def close(self) -> None:
        """End both threads."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        _shut_down(self._connection)

    def _lose_one(self) -> None:
        for place, (_, _, may_be_lost) in enumerate(self._waiting):
            if may_be_lost:
                del self._waiting[place]
                return

    def _write(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._is_over):
                    self._changed.wait()
                if self._is_over:
                    return
                head, content, _ = self._waiting.popleft()
            try:
                self._connection.send_bytes(head + content)
            except (OSError, ValueError):
                return  # the reading thread sees the end

    def _read(self) -> None:
        try:
            while not self._is_over:
                data = memoryview(self._connection.recv_bytes())
                (length,) = HEADER.unpack_from(data)
                start = HEADER.size + length
                self._take(json.loads(bytes(data[HEADER.size : start])), data[start:])
        except (EOFError, OSError, ValueError, struct.error, TypeError):
            pass  # closed at either end
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify()
            _shut_down(self._connection)
            self._writer.join()  # it still writes to the connection
            self._connection.close()
            self._on_end()


def _shut_down(connection: Connection) -> None:
    """Shut down both directions: closing alone does not wake a thread that reads."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
