"""Copies of packets on their way from a sandboxed process to its parent."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from co3d.video.clip import StreamHead
from co3d.video.packet_copier import CopiedItem

MOST_WAITING_BYTES = 16 << 20


@dataclass(frozen=True)
class Copied:
    """Packets, in order; packets of a new connection follow the head of its stream."""

    items: tuple[CopiedItem, ...]


class PacketRelay:
    """Queues packets until the parent listens, so that sending them delays no source.

    Beyond 16 MiB they are dropped, up to the next key frame.

    Args:
        send: sends a message to the parent.
    """

    def __init__(self, send: Callable[[Copied], None]) -> None:
        self._send = send
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._waiting: list[CopiedItem] = []
        self._bytes = 0
        self._is_dropping = False

    def put(self, item: CopiedItem) -> None:
        """Take the next packet or head."""
        with self._lock:
            if isinstance(item, StreamHead):
                self._waiting.append(item)
                return
            self._is_dropping = self._is_dropping and not item.is_keyframe
            if self._bytes + item.bytes_taken > MOST_WAITING_BYTES:
                heads = [one for one in self._waiting if isinstance(one, StreamHead)]
                self._waiting = [*heads[-1:]]
                self._bytes, self._is_dropping = 0, True
            if not self._is_dropping:
                self._waiting.append(item)
                self._bytes += item.bytes_taken

    def flush(self) -> None:
        """Send what waits."""
        with self._sending:
            with self._lock:
                items, self._waiting, self._bytes = tuple(self._waiting), [], 0
            if items:
                self._send(Copied(items))
