"""Add cameras to a fleet on Ray Serve until a second engine runs, and measure how long that takes.

    python scripts/scale_ray_serve.py --output results.json

Two Ray nodes of one core run on this machine, and the fleet begins with one engine of two at most.
Cameras that want 60 frames a second each are added over HTTP every second. When the engine is full
they are refused (503) and added again, until Ray Serve's policy has started a second engine, which
takes four more; all must then be labelled. Removing all but one camera lets the fleet shrink again
after Ray Serve's delay of 10 minutes, for which --shrink waits.
"""

import argparse
import json
import threading
import time
from http import HTTPStatus
from pathlib import Path

import ray
from ray import serve

from co3d import Client
from co3d.fleet.ray_serve import FleetOptions, find_registry
from co3d.serving.client import ServerRefusedError
from soak_ray_serve import (
    PORT,
    Watched,
    deploy,
    follow_cameras,
    serve_pictures,
    start_cluster,
    wait_until_ready,
)

MOST_CAMERAS, FURTHER_CAMERAS, WANTED_HZ = 60, 4, 60.0
PATIENCE_SECONDS, SHRINKING_SECONDS = 180.0, 900.0


def count_engines(fleet: FleetOptions) -> int:
    """Engines that report."""
    return len(find_registry(fleet.name).list_engines())


def wait_for_engines(fleet: FleetOptions, count: int, seconds: float) -> float:
    """Seconds until so many engines report."""
    began = time.monotonic()
    while count_engines(fleet) != count:
        if time.monotonic() - began > seconds:
            raise SystemExit(f"after {seconds:g} s there are {count_engines(fleet)} engines")
        time.sleep(0.2)
    return time.monotonic() - began


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description="scale a fleet on Ray Serve out")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    cluster, port = start_cluster(), serve_pictures()
    fleet, token = deploy(FleetOptions(engines=1, most_engines=2, fronts=1))
    client, cameras = Client(f"http://127.0.0.1:{PORT}", token), dict[str, Watched]()
    threading.Thread(target=follow_cameras, args=(cameras, token), daemon=True).start()
    wait_until_ready(cluster, fleet, [])
    result: dict = {"refused": 0}
    began, full_seconds, grown_seconds = time.monotonic(), None, None
    while full_seconds is None or len(cameras) < result["cameras_of_one"] + FURTHER_CAMERAS:
        if len(cameras) == MOST_CAMERAS or time.monotonic() - began > PATIENCE_SECONDS:
            raise SystemExit(f"{len(cameras)} cameras: {result}, {count_engines(fleet)} engines")
        if grown_seconds is None and count_engines(fleet) == 2:
            grown_seconds = time.monotonic() - began
        name = f"camera{len(cameras)}"
        url = f"http://127.0.0.1:{port}/{name}"
        try:
            client.add_stream(name, url, rate_hz=WANTED_HZ)
            cameras[name] = Watched(name)
        except ServerRefusedError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            result["refused"] += 1
            if full_seconds is None:
                full_seconds, result["cameras_of_one"] = time.monotonic() - began, len(cameras)
        time.sleep(1.0)
    result["full_seconds"] = round(full_seconds, 1)
    result["second_engine_seconds"] = round(grown_seconds or time.monotonic() - began, 1)
    result["cameras"] = len(cameras)
    since = time.monotonic()
    while not all(one.is_labelled for one in cameras.values()):
        if time.monotonic() - since > PATIENCE_SECONDS:
            left = [one.name for one in cameras.values() if not one.is_labelled]
            raise SystemExit(f"not labelled: {', '.join(left)}")
        time.sleep(0.2)
    result["all_labelled_after_seconds"] = round(time.monotonic() - since, 1)
    result["restarts"] = sum(one.restarts for one in cameras.values())
    if arguments.shrink:
        for name in list(cameras)[1:]:
            client.remove_stream(name)
            del cameras[name]
        result["shrunk_after_seconds"] = round(wait_for_engines(fleet, 1, SHRINKING_SECONDS), 1)
        time.sleep(5)
        result["labelled_then"] = all(one.is_labelled for one in cameras.values())
    print(json.dumps(result), flush=True)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result))
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
