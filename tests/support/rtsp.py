"""An RTSP server on the loopback interface that sends H.264 over TCP or UDP."""

import re
import socket
import socketserver
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers import run_server

PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000
VIDEO_UNITS = (1, 5)  # types of H.264 units that hold a picture


@contextmanager
def serve_rtsp(
    path: Path,
    rate_hz: int,
    parts: list[int],
    duration_seconds: float | None,
    transport: str = "tcp",
) -> Iterator[str]:
    """Play an elementary stream without B frames, as fast as it is taken.

    Args:
        path: a .h264 file with one slice per picture.
        rate_hz: pictures a second.
        parts: how many pictures each connection gets before it is closed; the next is refused.
        duration_seconds: what the description states.
        transport: what video is sent over, "tcp" or "udp"; the other one is refused.
    """
    units = read_units(path)
    connections = iter(parts)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            pictures = next(connections, None)
            if pictures is None:
                return
            try:
                while self._answer(pictures):
                    pass
            except OSError:  # the client has gone
                return

        def _answer(self, pictures: int) -> bool:
            lines = []
            while line := self.rfile.readline().decode().strip():
                lines.append(line)
            if not lines:
                return False
            method, url, _ = lines[0].split()
            number = next(line for line in lines if line.lower().startswith("cseq"))
            wanted = next((line for line in lines if line.lower().startswith("transport")), "")
            if wanted and (transport == "tcp") != ("RTP/AVP/TCP" in wanted):
                self.wfile.write(f"RTSP/1.0 461 Unsupported Transport\r\n{number}\r\n\r\n".encode())
                return True
            if found := re.search(r"client_port=(\d+)", wanted):
                self._client_port = int(found[1])
            answer = {
                "DESCRIBE": f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n",
                "SETUP": f"{wanted or 'Transport:'};server_port=9-10\r\nSession: 1\r\n",
                "PLAY": "Session: 1\r\n",
            }.get(method, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
            body = describe(duration_seconds) if method == "DESCRIBE" else ""
            head = f"RTSP/1.0 200 OK\r\n{number}\r\n{answer}"
            self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            if method == "PLAY":
                for packet in packetise(units, rate_hz, pictures):
                    self._send(packet)
            return method != "TEARDOWN" and (method != "PLAY" or transport == "udp")

        def _send(self, packet: bytes) -> None:
            if transport == "tcp":
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                return
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.sendto(packet, ("127.0.0.1", self._client_port))

    with run_server(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"rtsp://127.0.0.1:{port}/video"


def read_units(path: Path) -> list[bytes]:
    """Units of an elementary stream of H.264, without their start codes."""
    return re.split(rb"\x00\x00\x00?\x01", path.read_bytes())[1:]


def describe(duration_seconds: float | None) -> str:
    """The session description."""
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=video", "c=IN IP4 127.0.0.1", "t=0 0"]
    if duration_seconds is not None:
        lines.append(f"a=range:npt=0-{duration_seconds:.3f}")
    lines += [
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        "a=control:track",
    ]
    return "\r\n".join(lines) + "\r\n"


def packetise(units: list[bytes], rate_hz: int, pictures: int) -> Iterator[bytes]:
    """RTP packets of the first pictures, one H.264 unit each."""
    picture = 0
    for number, unit in enumerate(units):
        ends_picture = unit[0] & 31 in VIDEO_UNITS
        marker = 128 * ends_picture
        time = picture * CLOCK_HZ // rate_hz
        yield struct.pack(">BBHII", 128, marker | PAYLOAD_TYPE, number, time, 7) + unit
        picture += ends_picture
        if picture == pictures:
            return
