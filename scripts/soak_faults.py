"""Cameras that stall, die, jump in time and change size: what the others notice of it.

python scripts/soak_faults.py --seconds 30

Eight cameras on the loopback interface, labelled by one engine: first all of them are steady, then
four are, and the other four have a fault every three seconds. Prints a JSON object a camera: what
its own track says, and for how long its frames waited for their steps.
"""

import argparse
import json
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

from co3d.engine import Engine, Prediction, SourceChanged, TrackEnded
from co3d.engine.camera import Camera
from co3d.engine.cameras import CameraWatch
from co3d.engine.opening import open_engine
from co3d.video import VideoWriter

RATE_HZ = 8.0
PACKET_BYTES = 188
SLICE_SECONDS = 0.05
FAULT_SECONDS = 3.0
SILENT_SECONDS = 4.0
"""Less than the five after which a connection is given up."""

JUMP_SECONDS = 1000.0
SIZES = ((64, 96), (96, 160))
STEADY = tuple(f"steady {number}" for number in range(4))
FAULTS = ("stalls", "dies", "jumps", "resizes")
BEGAN = time.monotonic()


class Film:
    """A picture that drifts, as MPEG-TS, which states no duration; it is played in real time."""

    def __init__(self, folder: Path, seconds: float, size: tuple[int, int], start: float) -> None:
        height, width = size
        noise = np.random.default_rng(0).integers(0, 255, (height, 4 * width, 3), np.uint8)
        path, target = folder / "film.mp4", folder / "film.ts"
        with VideoWriter(path, RATE_HZ, frames_between_keys=8) as writer:
            for number in range(int(seconds * RATE_HZ)):
                left = 2 * number % (3 * width)
                writer.write(noise[:, left : left + width], number / RATE_HZ)
        with av.open(str(path)) as source, av.open(str(target), "w") as output:
            stream = output.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size and packet.pts is not None and packet.dts is not None:
                    moved = round(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                    packet.stream = stream
                    output.mux(packet)
        self._data, self._seconds = target.read_bytes(), seconds

    def cut(self, begin_seconds: float, end_seconds: float) -> bytes:
        """About what it shows between two moments, in whole packets."""
        packets = len(self._data) // PACKET_BYTES
        begin, end = (
            PACKET_BYTES * int(packets * seconds / self._seconds)
            for seconds in (begin_seconds, end_seconds)
        )
        return self._data[begin:end]


def play(handler: BaseHTTPRequestHandler, kind: str, films: tuple[Film, Film, Film]) -> None:
    """Send what a camera of this kind sees from now on."""
    usual, later, larger = films
    began, sent_until = time.monotonic(), time.monotonic() - BEGAN
    while True:
        time.sleep(SLICE_SECONDS)
        now, away = time.monotonic() - BEGAN, time.monotonic() - began
        is_faulty = int(away / FAULT_SECONDS) % 2 == 1
        film = usual
        if is_faulty and kind == "dies":
            return
        if is_faulty and kind == "stalls":
            time.sleep(SILENT_SECONDS)
            began, now = time.monotonic(), time.monotonic() - BEGAN
        elif is_faulty and kind in ("jumps", "resizes"):
            film = later if kind == "jumps" else larger
        handler.wfile.write(film.cut(sent_until, now))
        sent_until = now


@contextmanager
def serve(films: tuple[Film, Film, Film]) -> Iterator[str]:
    """Play films to who asks, in the way that the path names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                play(self, self.path.strip("/"), films)
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def watch_cameras(engine: Engine, url: str, kinds: dict[str, str], seconds: float) -> None:
    """Label these cameras for a while, and print what comes of each."""
    made: dict[str, list[Prediction]] = defaultdict(list)
    phases: dict[str, Counter[str]] = defaultdict(Counter)
    with CameraWatch(engine) as watch:
        for name, kind in kinds.items():
            watch.start(Camera(name, f"{url}/{kind}", reconnect_seconds=None))
        threading.Timer(seconds, watch.request_stop).start()
        for item in watch:
            if isinstance(item, Prediction):
                made[item.track].append(item)
            elif isinstance(item, SourceChanged):
                phases[item.track][item.state.phase] += 1
            elif isinstance(item, TrackEnded) and item.error is not None:
                phases[item.track][f"ended: {item.error}"] += 1
        statuses = watch.statuses()
        for name in kinds:
            queue_ms = np.array([prediction.queue_ms for prediction in made[name]] or [np.nan])
            step_ms = np.array([prediction.latency_ms for prediction in made[name]] or [np.nan])
            said = {
                "camera": name,
                "predictions": len(made[name]),
                "states": dict(phases[name]),
                "gaps": sum(prediction.gap_seconds > 0 for prediction in made[name]),
                **vars(statuses[name].irregularities),
                "notices": watch.list_notices(name),
                "dropped": max((one.dropped_frames for one in made[name]), default=0),
                "queue_ms": [round(float(q), 2) for q in np.percentile(queue_ms, (50, 95, 100))],
                "step_ms": [round(float(q), 2) for q in np.percentile(step_ms, (50, 95, 100))],
            }
            print(json.dumps(said), flush=True)


def main() -> None:
    """Run without faults, then with them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    film_seconds = 4 * seconds + 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = (
            Film(folder, film_seconds, SIZES[0], 0.0),
            Film(folder, film_seconds, SIZES[0], JUMP_SECONDS),
            Film(folder, film_seconds, SIZES[1], 0.0),
        )
    with open_engine("camera_motion", backend="native") as engine, serve(films) as url:
        print(json.dumps({"step_cost_ms": round(engine.step_cost_ms, 2)}), flush=True)
        steady = dict.fromkeys(STEADY, "steady")
        watch_cameras(engine, url, {**steady, **dict.fromkeys(FAULTS, "steady")}, seconds)
        watch_cameras(engine, url, {**steady, **{name: name for name in FAULTS}}, seconds)


if __name__ == "__main__":
    main()
