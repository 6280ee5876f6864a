"""Label a live source that fails at random, and watch memory, descriptors and threads.

    python scripts/soak_stream.py --steps 100000

A server on the loopback interface plays parts of a short film as fast as they are taken, each on a
new connection. At random it refuses, closes at once, breaks off in the middle, sends
garbage, or damages bytes. The labelling loop of `co3d stream` reads it with the bundled network;
the annotated video is written too, where `--output` names one. Prints a JSON object a thousand
steps apart with what the process holds, and exits with 1 if any of it has grown.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from co3d.engine import open_labeller
from co3d.report import annotated_video
from co3d.video import VideoReader, VideoWriter, back_off, read_video

REPORT_STEPS = 1000
WARM_UP_SHARE = 0.2
"""The share of steps during which caches and the allocator's arenas fill."""

MAX_GROWTH_MB = 32.0
RATE_HZ = 8.0
FRAMES = 1600
SIZE = (64, 96, 3)
PACKET_BYTES = 188
KINDS = ("whole", "cut", "cut", "damaged", "garbage", "none", "refused")


def make_film(folder: Path) -> bytes:
    """Two hundred seconds of a picture that drifts, as MPEG-TS, which states no duration."""
    import av

    path = folder / "film.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[0], 512, 3), np.uint8)
    with VideoWriter(path, RATE_HZ, frames_between_keys=16) as writer:
        for number in range(FRAMES):
            left = 2 * number % 400
            writer.write(noise[:, left : left + SIZE[1]], number / RATE_HZ)
    target = folder / "film.ts"
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target.read_bytes()


@contextmanager
def serve(film: bytes, seed: int) -> Iterator[str]:
    """Play the film from anywhere in its first half on, with failures."""
    chance = random.Random(seed)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                kind = chance.choice(KINDS)
                start = PACKET_BYTES * chance.randrange(len(film) // PACKET_BYTES // 2)
                place = chance.randrange(len(film) - start)
            if kind == "refused":
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            sent = film[start:]  # the same start again would be a recording, which ends
            data = {
                "cut": sent[:place],
                "damaged": sent[:place] + bytes(500) + sent[place + 500 :],
                "garbage": bytes(5000),
                "none": b"",
            }.get(kind, sent)
            try:
                self.wfile.write(data)
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/camera"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measure(step: int, reader: VideoReader) -> dict[str, float]:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "step": step,
        "memory_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "dropped_frames": reader.dropped_frames,
    }


def soak(steps: int, policy: str, seed: int, output: Path | None) -> list[dict[str, float]]:
    """Label so many frames; what the process held meanwhile."""
    held: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = stack.enter_context(serve(make_film(Path(folder)), seed))
        reader = stack.enter_context(
            read_video(url, rate_hz=RATE_HZ, policy="latest" if policy == "latest" else "every")
        )
        labeller = open_labeller("camera_motion", rate_hz=RATE_HZ, has_end=False)
        video = None
        if output is not None:
            video = annotated_video(output, reader, labeller, is_stopped=lambda: True)
            video = stack.enter_context(video)
        for step, prediction in enumerate(labeller.label(reader), 1):
            if video is not None:
                video.add(prediction)
            if step % REPORT_STEPS == 0:
                held.append(measure(step, reader))
                print(json.dumps(held[-1]), flush=True)
            if step == steps:
                return held
    return held


def describe_growth(held: list[dict[str, float]]) -> list[str]:
    """What never was as little in the last quarter as in the first one after warming up.

    The least counts: a decoder's threads end when Python collects what a broken connection left.
    """
    settled = held[int(WARM_UP_SHARE * len(held)) :]
    quarter = len(settled) // 4
    found = []
    for name, limit in (("memory_mb", MAX_GROWTH_MB), ("descriptors", 2), ("threads", 32)):
        early = min((row[name] for row in settled[:quarter]), default=0.0)
        late = min((row[name] for row in settled[len(settled) - quarter :]), default=0.0)
        if late - early > limit:
            found.append(f"{name} grew from {early} to {late}")
    return found


def main() -> int:
    """Soak, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--policy", choices=["latest", "every"], default="latest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    back_off.FIRST_RETRY_SECONDS, back_off.LAST_RETRY_SECONDS = 0.001, 0.01
    held = soak(options.steps, options.policy, options.seed, options.output)
    growth = describe_growth(held)
    for line in growth:
        print(line, file=sys.stderr)
    return 1 if growth else 0


if __name__ == "__main__":
    sys.exit(main())
