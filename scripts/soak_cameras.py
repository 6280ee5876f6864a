"""Many RTSP cameras whose server is killed at random: rates, returns, memory, threads, files.

python scripts/soak_cameras.py --cameras 64 --kills 100

It starts `serve_cameras.py`, which see for what that needs.
"""

import argparse
import ctypes
import json
import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from co3d.engine import Prediction, SourceChanged, TrackEnded
from co3d.engine.cameras import Camera, CameraWatch
from co3d.engine.opening import open_engine

RATE_HZ = 4.0
RETURN_SECONDS = 10.0
RETRY_SECONDS = 5.0
"""After which a camera that was refused tries again."""

MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

SERVER = Path(__file__).parent / "serve_cameras.py"


class Server:
    """The cameras, which may be killed and started again."""

    def __init__(self, python: str, port: int, cameras: int) -> None:
        self._command = [python, str(SERVER), "--port", str(port), "--cameras", str(cameras)]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Seen:
    """What comes of the cameras."""

    def __init__(self, watch: CameraWatch) -> None:
        self.counts: Counter[str] = Counter()
        self.latest: dict[str, float] = {}
        self.refused: dict[str, str] = {}
        threading.Thread(target=self._take, args=(watch,), daemon=True).start()

    def _take(self, watch: CameraWatch) -> None:
        for item in watch:
            if isinstance(item, Prediction):
                self.counts[item.track] += 1
                self.latest[item.track] = time.monotonic()
                self.refused.pop(item.track, None)
            elif isinstance(item, SourceChanged) and item.state.phase == "refused":
                self.refused[item.track] = str(item.state.cause)
            elif isinstance(item, TrackEnded) and item.error is not None:
                self.refused[item.track] = str(item.error)

    def wait_for_all(self, names: list[str], since: float, longest: float) -> dict[str, float]:
        """Seconds from a moment until each camera gave its next prediction; of those that did."""
        returned: dict[str, float] = {}
        while len(returned) < len(names) and time.monotonic() < since + longest:
            for name in names:
                latest = self.latest.get(name, 0.0)
                if name not in returned and latest > since:
                    returned[name] = latest - since
            time.sleep(0.02)
        return returned


def read_allocated() -> int:
    """Bytes that this process has allocated and not freed; a leak makes them rise too."""

    class Info(ctypes.Structure):
        _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO.split())

    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Info
    info = library.mallinfo2()
    return info.uordblks + info.hblkhd


def read_usage() -> dict[str, Any]:
    """Memory, threads and open files of this process (Linux with glibc)."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "resident_mb": round(resident / 1e6, 1),
        "allocated_mb": round(read_allocated() / 1e6, 1),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "camera_threads": sum(
            thread.name.startswith(("co3d follows", "co3d receives", "co3d connects", "co3d reads"))
            for thread in threading.enumerate()
        ),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


def main() -> None:
    """Run, and print a line of JSON per kill and one at the end."""
    parser = argparse.ArgumentParser(description="soak many RTSP cameras")
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--steady-seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--server-python", default="/usr/bin/python3")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    server = Server(arguments.server_python, arguments.port, arguments.cameras)
    names = [f"camera {number}" for number in range(arguments.cameras)]
    with (
        open_engine("camera_motion", backend="native") as engine,
        CameraWatch(engine, retry_seconds=RETRY_SECONDS) as watch,
    ):
        before = read_usage()
        began = time.monotonic()
        for number, name in enumerate(names):
            address = f"rtsp://127.0.0.1:{arguments.port}/{number}"
            watch.start(Camera(name, address, rate_hz=RATE_HZ, reconnect_seconds=None))
        seen = Seen(watch)  # which ends where no camera runs
        first = seen.wait_for_all(names, began, 60.0)
        refused = dict(seen.refused)
        running = [name for name in names if name in first]
        counted, steady = Counter(seen.counts), time.monotonic()
        time.sleep(arguments.steady_seconds)
        spent = time.monotonic() - steady
        rates = [(seen.counts[name] - counted[name]) / spent for name in running]
        usages = [read_usage()]
        summary: dict[str, Any] = {
            "cameras": arguments.cameras,
            "running": len(running),
            "refused": len(refused),
            "why": next(iter(refused.values()), None),
            "first_prediction_seconds": describe(list(first.values())),
            "rate_hz": describe(rates),
            "wanted_rate_hz": RATE_HZ,
            "before": before,
            "steady": usages[0],
            "load": round(engine.load, 3),
            "step_cost_ms": round(engine.step_cost_ms, 2),
        }
        print(json.dumps(summary), flush=True)
        late, returns = 0, []
        for number in range(arguments.kills):
            server.kill()
            time.sleep(random.uniform(0.1, 4.0))
            server.start()
            returned = seen.wait_for_all(running, time.monotonic(), 3 * RETURN_SECONDS)
            slow = len(running) - sum(value <= RETURN_SECONDS for value in returned.values())
            late += slow
            returns += returned.values()
            time.sleep(random.uniform(0.5, 2.0))
            usages.append(read_usage())
            line = {"kill": number, "late": slow, **describe(list(returned.values()))}
            print(json.dumps({**line, **usages[-1]}), flush=True)
        dropped = sum(
            status.metrics.dropped_frames for status in watch.statuses().values() if status.metrics
        )
        summary = {"kills": arguments.kills, "late": late, "return_seconds": describe(returns)}
        print(json.dumps({**summary, "dropped_frames": dropped, "end": usages[-1]}), flush=True)
        watch.request_stop()
    server.kill()


def describe(values: list[float]) -> dict[str, float]:
    """Least, median and greatest."""
    if not values:
        return {"count": 0}
    least, middle, greatest = min(values), statistics.median(values), max(values)
    figures = {"least": least, "median": middle, "greatest": greatest}
    return {"count": len(values), **{name: round(value, 2) for name, value in figures.items()}}


if __name__ == "__main__":
    main()
