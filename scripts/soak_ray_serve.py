"""Kill processes and machines of a fleet on Ray Serve, and measure when all streams are back.

    python scripts/soak_ray_serve.py --processes 20 --machines 20 --output results.json

Two Ray nodes run on this machine, each with a raylet of its own. Pictures are pushed over
WebSockets, and cameras of this script are labelled over HTTP. Before each kill all streams have
been given valid predictions and all replicas run; then SIGKILL goes to a random worker process, or
to a raylet and all its workers at once. A stream is back when valid predictions come again.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.cluster_utils import Cluster
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from co3d import Client
from co3d.errors import Co3dError
from co3d.fleet.ray_serve import FleetOptions, app, find_registry
from co3d.serving.live_session import HEADER
from co3d.serving.pictures import encode_jpeg
from co3d.serving.tokens import add_token

PORT = 8801
NODE = {"num_cpus": 1, "object_store_memory": 200_000_000}
RATE_HZ = 10.0
LIMIT_SECONDS, SETTLING_SECONDS, PATIENCE_SECONDS, WHOLE_SECONDS = 10.0, 5.0, 90.0, 300.0
PICTURES = [
    encode_jpeg(np.random.default_rng(n).integers(0, 256, (120, 160, 3), np.uint8), 160)
    for n in range(16)
]
BOUNDARY = b"picture"
WORKERS = tuple(
    f"ray::{kind}"
    for kind in ("EngineActor", "RegistryActor", "ServeReplica", "ProxyActor", "ServeController")
)
# A machine that is gone is noticed after 5 s; Ray's own values take some 15 s. Nor do workers give
# way to other programs of this machine, as they do by Ray's own value, 15.
SYSTEM = {
    "worker_niceness": 0,
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 5,
}

SERVE = {"RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1"}
"""Ray Serve starts a proxy again after three failed checks; its own period is 10 s."""


class CameraHandler(BaseHTTPRequestHandler):
    """Sends pictures as cameras do, without an end."""

    def do_GET(self) -> None:
        """See `BaseHTTPRequestHandler`."""
        self.send_response(200)
        kind = "multipart/x-mixed-replace; boundary=" + BOUNDARY.decode()
        self.send_header("Content-Type", kind)
        self.end_headers()
        number = 0
        with suppress(OSError):
            while True:
                picture = PICTURES[number % len(PICTURES)]
                head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                self.wfile.write(b"--" + BOUNDARY + b"\r\n" + head + picture + b"\r\n")
                number += 1
                time.sleep(1 / RATE_HZ)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Watched:
    """When a stream was labelled, and how often it was told that it restarted."""

    def __init__(self, name: str) -> None:
        self.name, self.restarts, self.reconnects = name, 0, 0
        self.valid_seconds: list[float] = [0.0]
        self.must_renew = threading.Event()
        self._said_so = False

    def take(self, message: dict) -> None:
        """A message about it."""
        if message.get("type") != "prediction":
            return
        self.restarts += message["restarted"] and not self._said_so
        self._said_so = message["restarted"]
        if message["valid"]:
            self.valid_seconds.append(time.monotonic())

    @property
    def is_labelled(self) -> bool:
        """Whether it is now."""
        return time.monotonic() - self.valid_seconds[-1] < 1.0

    def find_return(self, killed: float) -> float:
        """Seconds from a kill until valid predictions came again, after their last pause of 1 s."""
        back, before = 0.0, killed
        for now in self.valid_seconds:
            if now > killed:
                back = now - killed if now - before > 1.0 else back
                before = now
        return back if self.is_labelled else PATIENCE_SECONDS

    def find_longest_pause(self, since: float) -> float:
        """Seconds between two valid predictions, at most, since a time."""
        seen = [moment for moment in self.valid_seconds if moment > since]
        return max((late - early for early, late in pairwise(seen)), default=PATIENCE_SECONDS)


def push_pictures(watched: Watched, token: str) -> None:
    """Have pictures labelled for ever; connect again where that breaks."""
    headers = {"Authorization": f"Bearer {token}"}
    while True:
        try:
            with connect(f"ws://127.0.0.1:{PORT}/v1/live", additional_headers=headers) as socket:
                socket.send(json.dumps({"type": "start", "format": "jpeg"}))
                number, due = 0, time.monotonic()
                while not watched.must_renew.is_set():
                    socket.send(HEADER.pack(number / RATE_HZ) + PICTURES[number % len(PICTURES)])
                    number, due = number + 1, due + 1 / RATE_HZ
                    while (left := due - time.monotonic()) > 0:
                        with suppress(TimeoutError):
                            watched.take(json.loads(socket.recv(left)))
            watched.must_renew.clear()
        except (OSError, WebSocketException):
            watched.reconnects += 1
            time.sleep(0.25)


def follow_cameras(cameras: dict[str, Watched], token: str) -> None:
    """Take what cameras give for ever; connect again where that breaks."""
    headers = {"Authorization": f"Bearer {token}"}
    while True:
        try:
            with connect(f"ws://127.0.0.1:{PORT}/v1/feed", additional_headers=headers) as socket:
                while True:
                    message = json.loads(socket.recv(5))
                    if message["stream"] in cameras:
                        cameras[message["stream"]].take(message)
        except (OSError, WebSocketException):
            for one in cameras.values():
                one.reconnects += 1
            time.sleep(0.25)


def serve_pictures() -> int:
    """Play cameras in a thread; their port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), CameraHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def start_cluster() -> Cluster:
    """Start two Ray nodes of one core each, and Ray Serve on them."""
    os.environ |= SERVE
    head = {**NODE, "include_dashboard": False, "_system_config": SYSTEM}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"port": PORT})
    return cluster


def deploy(options: FleetOptions) -> tuple[FleetOptions, str]:
    """Deploy a fleet for an operator who adds cameras of this machine; the operator's token."""
    tokens = Path(tempfile.mkdtemp(prefix="co3d-")) / "tokens.json"
    token = add_token(tokens, "operator", "operator")
    update = {"tokens": tokens, "allowed_sources": ("http://127.0.0.0/8",)}
    fleet = options.model_copy(update=update)
    serve.run(app(fleet), name=fleet.name)
    return fleet, token


def is_whole(cluster: Cluster, fleet: FleetOptions) -> bool:
    """Whether all replicas and engines run: Serve's own status may not know yet who has died."""
    with suppress(Exception):
        titles = [title for _, title in list_workers(cluster)]
        fronts = sum(title.startswith(f"ray::ServeReplica:{fleet.name}:front") for title in titles)
        states = serve.status().applications[fleet.name].deployments.values()
        engines = find_registry(fleet.name).list_engines()
        are_there = len(engines) == fleet.engines and fronts == fleet.fronts
        return are_there and all(one.status == "HEALTHY" for one in states)
    return False


def wait_until_ready(cluster: Cluster, fleet: FleetOptions, streams: list[Watched]) -> float:
    """Wait until all replicas run and all streams are labelled; seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < WHOLE_SECONDS:
        if all(one.is_labelled for one in streams) and is_whole(cluster, fleet):
            return time.monotonic() - began
        time.sleep(0.2)
    raise SystemExit(f"the fleet is not whole after {WHOLE_SECONDS:g} s")


def list_workers(cluster: Cluster) -> list[tuple[int, str]]:
    """Ray's worker processes that do something, on all nodes: ids and titles."""
    found = []
    for node in cluster.list_all_nodes():
        for one in list_children(find_raylet(node)):
            with suppress(OSError):
                title = Path(f"/proc/{one}/cmdline").read_text().split("\0")[0]
                if title.startswith(WORKERS):
                    found.append((one, title.split()[0]))
    return found


def list_children(process: int) -> list[int]:
    """The processes that a process has started."""
    with suppress(OSError):
        return [
            int(child)
            for thread in Path(f"/proc/{process}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    return []


def find_raylet(node: Any) -> int:
    """The raylet of a node."""
    [info] = node.all_processes["raylet"]
    return info.process.pid


def kill_machine(cluster: Cluster) -> str:
    """Kill the second node's raylet and workers."""
    [node] = cluster.worker_nodes
    family = [find_raylet(node)]
    for one in family:  # which grows meanwhile
        family += list_children(one)
    for one in family:
        with suppress(OSError):
            os.kill(one, signal.SIGKILL)

    return "machine"


def replace_machine(cluster: Cluster) -> None:
    """Start another node in the place of the one that was killed."""
    [node] = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(**NODE)


def kill_worker(cluster: Cluster, chance: random.Random, kind: str) -> str:
    """Kill one of the processes whose title has this in it; what it was."""
    workers = [worker for worker in list_workers(cluster) if kind in worker[1]]
    process, title = chance.choice(workers)
    os.kill(process, signal.SIGKILL)
    return title


def deploy_anew(
    cluster: Cluster, fleet: FleetOptions, number: int, cameras: list[Watched]
) -> dict[str, Any]:
    """Deploy with other options, for which Ray Serve drains all replicas, and watch the cameras."""
    told, began = {one.name: one.restarts for one in cameras}, time.monotonic()
    options = fleet.model_copy(update={"most_engines": fleet.most_engines + 1 - number % 2})
    serve.run(app(options), name=fleet.name)
    wait_until_ready(cluster, fleet, cameras)
    time.sleep(SETTLING_SECONDS)
    return {
        "kind": "deployment",
        "pause_seconds": {o.name: round(o.find_longest_pause(began), 2) for o in cameras},
        "restarted": [one.name for one in cameras if one.restarts > told[one.name]],
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description="kill parts of a fleet on Ray Serve")
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--machines", type=int, default=20)
    parser.add_argument(
        "--kind", default="", help="of the processes to kill, ProxyActor for example; else of any"
    )
    parser.add_argument("--deployments", type=int, default=0, help="that drain all replicas")
    parser.add_argument("--pushed", type=int, default=2)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    cluster, port = start_cluster(), serve_pictures()
    fleet, token = deploy(FleetOptions(engines=2, most_engines=2, fronts_per_machine=1))
    client = Client(f"http://127.0.0.1:{PORT}", token)
    cameras = {f"camera{number}": Watched(f"camera{number}") for number in range(arguments.cameras)}
    for name in cameras:
        client.add_stream(name, f"http://127.0.0.1:{port}/{name}", rate_hz=8.0)
    pushed = [Watched(f"pushed{number}") for number in range(arguments.pushed)]
    for one in pushed:
        threading.Thread(target=push_pictures, args=(one, token), daemon=True).start()
    threading.Thread(target=follow_cameras, args=(cameras, token), daemon=True).start()
    streams = [*pushed, *cameras.values()]
    print(f"ready after {wait_until_ready(cluster, fleet, streams):.1f} s", flush=True)
    kinds = ["process"] * arguments.processes + ["machine"] * arguments.machines
    chance.shuffle(kinds)
    runs: list[dict] = []
    result: dict = {}
    listed: list[str] = []
    for number, kind in enumerate(kinds):
        for one in pushed:  # which spreads them over all engines, else the survivor keeps them
            one.must_renew.set()
        time.sleep(chance.uniform(1, 3))
        wait_until_ready(cluster, fleet, streams)
        told = {one.name: (one.restarts, one.reconnects) for one in streams}
        what = (
            kill_machine(cluster)
            if kind == "machine"
            else kill_worker(cluster, chance, arguments.kind)
        )
        killed = time.monotonic()
        if kind == "machine":
            replace_machine(cluster)
        back = wait_for_all(streams, killed)
        whole = wait_until_ready(cluster, fleet, streams) + (time.monotonic() - killed)
        runs.append(
            {
                "kind": kind,
                "what": what,
                "back_seconds": {name: round(seconds, 2) for name, seconds in back.items()},
                "whole_seconds": round(whole, 1),
                "restarted": [o.name for o in streams if o.restarts > told[o.name][0]],
                "reconnected": [o.name for o in streams if o.reconnects > told[o.name][1]],
            }
        )
        worst = max(back.values())
        print(f"{number + 1}. {what}: all back after {worst:.1f} s {runs[-1]}", flush=True)
        with suppress(Co3dError):
            listed = [one.id for one in client.list_streams()]
        load = os.getloadavg()[0] / (os.cpu_count() or 1)  # what other programs take
        result = summarise(runs) | {"cameras_left": listed, "load": round(load, 1)}
        if arguments.output is not None:
            arguments.output.write_text(json.dumps(result | {"runs": runs}, indent=1) + "\n")
    deployments: list[dict] = []
    for number in range(arguments.deployments):
        deployments.append(deploy_anew(cluster, fleet, number, list(cameras.values())))
        print(deployments[-1], flush=True)
        listed = [one.id for one in client.list_streams()]
        result |= {"deployments": deployments}
        if arguments.output is not None:
            arguments.output.write_text(json.dumps(result | {"runs": runs}, indent=1) + "\n")
    print(json.dumps(result, indent=2))
    with suppress(Co3dError, Exception):
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
    sys.stdout.flush()
    os._exit(result.get("lost", 0) > 0 or set(listed) != set(cameras))


def wait_for_all(streams: list[Watched], killed: float) -> dict[str, float]:
    """Seconds from a kill until each stream is labelled again; 0 where it never paused."""
    while time.monotonic() - killed < PATIENCE_SECONDS:
        # What an engine has made before counts for nothing, and silence is noticed after 3 s.
        if time.monotonic() - killed > SETTLING_SECONDS and all(o.is_labelled for o in streams):
            break
        time.sleep(0.1)
    return {one.name: one.find_return(killed) for one in streams}


def summarise(runs: list[dict]) -> dict:
    """Median and worst by kind."""
    summary: dict = {"late": 0, "lost": 0}
    for kind in ("process", "machine"):
        worst = [max(run["back_seconds"].values()) for run in runs if run["kind"] == kind]
        if worst:
            summary[kind] = {
                "kills": len(worst),
                "median_seconds": round(median(worst), 2),
                "worst_seconds": round(max(worst), 2),
            }
            summary["late"] += sum(one > LIMIT_SECONDS for one in worst)
            summary["lost"] += sum(one >= PATIENCE_SECONDS for one in worst)
    return summary


if __name__ == "__main__":
    main()
