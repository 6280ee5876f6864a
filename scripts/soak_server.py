"""Load a server with visitors, or let them come and go, and report latencies and what is kept.

PYTHONPATH=src python scripts/soak_server.py load --sessions 32 --seconds 600
PYTHONPATH=src python scripts/soak_server.py visits --count 1000 --transport websocket
PYTHONPATH=src python scripts/soak_server.py visits --count 1000 --transport webrtc
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from anyio import fail_after
from PIL import Image

from co3d.serving.live_session import HEADER

RATE_HZ = 8.0
WARM_UP, AT_ONCE, SETTLE_SECONDS = 80, 8, 6.0


@dataclass
class Kept:
    """What the server's processes hold."""

    rss_mb: float
    threads: int
    descriptors: int


def list_processes(root: int) -> list[int]:
    """The server and its children."""
    found = [root]
    for task in Path(f"/proc/{root}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def measure(root: int) -> Kept:
    """Sums over the server's processes."""
    kept = Kept(0.0, 0, 0)
    for number in list_processes(root):
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{number}/status").read_text().splitlines()
        )
        kept.rss_mb += int(status["VmRSS"].split()[0]) / 1024
        kept.threads += int(status["Threads"])
        kept.descriptors += len(list(Path(f"/proc/{number}/fd").iterdir()))
    return kept


def start_server() -> tuple[subprocess.Popen[str], str]:
    """A server with the bundled network, and where it listens."""
    command = [sys.executable, "-m", "co3d", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "served at" not in (line := process.stdout.readline()):
        assert process.poll() is None, "the server ended"
    return process, line.split()[-1].removeprefix("http://").rstrip("/")


def make_pictures() -> list[bytes]:
    """Some JPEGs of 640 by 360 pixels that move."""
    ground = np.random.default_rng(0).integers(0, 255, (45, 110, 3), np.uint8)
    large = Image.fromarray(ground).resize((880, 360))
    pictures = []
    for number in range(16):
        content = BytesIO()
        large.crop((number * 8, 0, number * 8 + 640, 360)).save(content, "JPEG", quality=80)
        pictures.append(content.getvalue())
    return pictures


async def visit(place: str, pictures: list[bytes], seconds: float, delays_ms: list[float]) -> str:
    """One visitor; how it ended."""
    async with websockets.connect(f"ws://{place}/v1/live", max_size=None) as socket:
        await socket.send(json.dumps({"type": "start"}))
        ready = json.loads(await socket.recv())
        if ready["type"] != "ready":
            return ready["error"]
        began = time.monotonic()

        async def send() -> None:
            number = 0
            while (now := time.monotonic()) - began < seconds:
                await socket.send(HEADER.pack(now) + pictures[number % len(pictures)])
                number += 1
                await asyncio.sleep(max(0.0, began + number / RATE_HZ - time.monotonic()))

        sending = asyncio.create_task(send())
        try:
            while not sending.done():
                with fail_after(2.0):
                    message = json.loads(await socket.recv())
                if message["type"] == "prediction":
                    # Its newest picture is settled by the one after it.
                    delays_ms.append(1000 * (time.monotonic() - message["seen_seconds"]))
        except TimeoutError:
            pass
        await sending
    return "served"


async def load(place: str, sessions: int, seconds: float) -> dict[str, Any]:
    """Many visitors at once."""
    pictures, delays_ms = make_pictures(), list[float]()
    ends = await asyncio.gather(
        *(visit(place, pictures, seconds, delays_ms) for _ in range(sessions))
    )
    steady = delays_ms[len(delays_ms) // 10 :]
    return {
        "sessions": sessions,
        "seconds": seconds,
        "ends": {end: ends.count(end) for end in set(ends)},
        "predictions": len(delays_ms),
        "predictions_per_session_second": len(delays_ms) / seconds / max(1, ends.count("served")),
        "picture_to_answer_ms": dict(
            zip(
                ("p50", "p95", "p99"),
                np.percentile(steady, (50, 95, 99)).round(1).tolist(),
                strict=True,
            )
        ),
    }


async def visit_by_webrtc(place: str, predictions: int) -> None:
    """One visitor over WebRTC, who leaves after some predictions."""
    from aiortc import RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import VideoStreamTrack
    from av import VideoFrame

    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)

    class Noise(VideoStreamTrack):
        async def recv(self) -> VideoFrame:
            pts, base = await self.next_timestamp()
            frame = VideoFrame.from_ndarray(np.roll(pixels, pts, 1), "rgb24")
            frame.pts, frame.time_base = pts, Fraction(base)
            return frame

    import httpx2

    peer, enough = RTCPeerConnection(), asyncio.Event()
    channel, seen = peer.createDataChannel("predictions"), [0]

    def take(_text: str) -> None:
        seen[0] += 1
        if seen[0] >= predictions:
            enough.set()

    channel.on("message", take)
    peer.addTrack(Noise())
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"type": "offer", "sdp": peer.localDescription.sdp}
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"http://{place}/v1/live/offer", json=offer, timeout=20)
    answer.raise_for_status()
    await peer.setRemoteDescription(RTCSessionDescription(answer.json()["sdp"], "answer"))
    with fail_after(20):
        await enough.wait()
    if channel.readyState == "open":
        channel.send("bye")
    await peer.close()


async def come_and_go(place: str, count: int, transport: str, server: int) -> dict[str, Any]:
    """Visitors who stay for a moment, eight at a time."""
    pictures = make_pictures()

    async def come(count: int) -> None:
        for start in range(0, count, AT_ONCE):
            visits = [
                visit_by_webrtc(place, 1)
                if transport == "webrtc"
                else visit(place, pictures, 0.3, [])
                for _ in range(min(AT_ONCE, count - start))
            ]
            await asyncio.gather(*visits)
            if start % 200 == 0:
                print(start, measure(server), file=sys.stderr, flush=True)

    await come(WARM_UP)
    await asyncio.sleep(SETTLE_SECONDS)
    before = measure(server)
    await come(count)
    await asyncio.sleep(SETTLE_SECONDS)
    return {
        "visits": count,
        "transport": transport,
        "before": asdict(before),
        "after": asdict(measure(server)),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    loading = kinds.add_parser("load")
    loading.add_argument("--sessions", type=int, default=32)
    loading.add_argument("--seconds", type=float, default=600)
    visiting = kinds.add_parser("visits")
    visiting.add_argument("--count", type=int, default=1000)
    visiting.add_argument("--transport", choices=("websocket", "webrtc"), default="websocket")
    given = parser.parse_args()
    server, place = start_server()
    try:
        if given.kind == "load":
            report = asyncio.run(load(place, given.sessions, given.seconds))
            report["kept"] = asdict(measure(server.pid))
        else:
            report = asyncio.run(come_and_go(place, given.count, given.transport, server.pid))
        print(json.dumps(report, indent=2))
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


if __name__ == "__main__":
    main()
