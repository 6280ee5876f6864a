"""Compare the cameras that `co3d capacity` predicts with those that an engine admits and serves.

python scripts/check_capacity.py VIDEO [VIDEO ...] --model camera_motion --rate-hz 8

Each video is measured alone, as `co3d capacity` does. Then cameras that play them in turn join a
new engine one by one until it refuses them, and go on for a minute: how many it admitted, and the
share of their frames that it labelled. With --beyond 1.5 another engine without a limit gets 1.5
times as many cameras.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from co3d.benchmark.machine import describe_hardware
from co3d.engine import Engine
from co3d.engine.camera import Camera
from co3d.engine.opening import open_engine
from co3d.errors import EngineFullError
from co3d.fleet.capacity import Machine, Storage, find_need
from co3d.fleet.measuring import measure_camera
from co3d.fleet.played_camera import PlayedCameras


def serve(played: PlayedCameras, seconds: float) -> float:
    """The share of the frames that are labelled meanwhile."""
    before = [track.metrics() for track in played.tracks]
    time.sleep(seconds)
    pairs = [(track.metrics(), one) for track, one in zip(played.tracks, before, strict=True)]
    steps = sum(now.steps - then.steps for now, then in pairs)
    dropped = sum(now.dropped_frames - then.dropped_frames for now, then in pairs)
    return steps / (steps + dropped)


def admit(engine: Engine, cameras: Sequence[Camera], rate_hz: float, seconds: float) -> Any:
    """Let cameras join one by one, and try again each half second where one was refused."""
    with PlayedCameras(engine) as played:
        ends_seconds = time.monotonic() + seconds
        while time.monotonic() < ends_seconds:
            try:
                played.join(cameras[len(played.tracks) % len(cameras)], rate_hz)
                time.sleep(0.1)
            except EngineFullError:
                time.sleep(0.5)
        share = serve(played, seconds / 4)
        return {
            "admitted_cameras": len(played.tracks),
            "served_share": round(share, 4),
            "engine_step_ms": round(engine.step_cost_ms, 3),
        }


def exceed(
    engine: Engine, cameras: Sequence[Camera], rate_hz: float, count: int, seconds: float
) -> float:
    """The share of the frames that an engine labels that did not refuse so many cameras."""
    with PlayedCameras(engine) as played:
        for number in range(count):
            played.join(cameras[number % len(cameras)], rate_hz)
            time.sleep(0.05)
        time.sleep(seconds / 4)
        return serve(played, seconds / 4)


def main() -> None:
    """Predict, measure, and print both as JSON."""
    parser = argparse.ArgumentParser(description="predicted and admitted cameras")
    parser.add_argument("video", type=Path, nargs="+")
    parser.add_argument("--model", default="camera_motion")
    parser.add_argument("--weights")
    parser.add_argument("--rate-hz", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--beyond", type=float, action="append", default=[], metavar="TIMES")
    options = parser.parse_args()
    rate_hz, cores = options.rate_hz, torch.get_num_threads()
    cameras = [Camera(path.name, str(path), rate_hz=rate_hz) for path in options.video]
    network = {"weights": options.weights, "backend": "native"}
    with open_engine(options.model, **network, workers=0) as engine:
        costs = [measure_camera(engine.compiled, engine.card, camera) for camera in cameras]
    nothing = Storage(0.0, 0.0, records=False, keep_days=0.0)
    each = find_need(costs, {}, Machine(cores, 0, 1.0), nothing)  # one camera of each kind
    predicted = cores / each.cores * len(cameras)
    said = {
        "hardware": describe_hardware(),
        "model": options.model,
        "rate_hz": rate_hz,
        "videos": {
            cost.name: {
                "source_ms": round(cost.source_ms, 3),
                "step_ms": round(cost.step_ms, 3),
            }
            for cost in costs
        },
        "predicted_cameras": round(predicted, 1),
    }
    with open_engine(options.model, **network) as engine:
        said |= admit(engine, cameras, rate_hz, options.seconds)
    said["ratio"] = round(predicted / said["admitted_cameras"], 3)
    for times in options.beyond:
        count = round(times * said["admitted_cameras"])
        with open_engine(options.model, **network, load_limit=None) as engine:
            share = exceed(engine, cameras, rate_hz, count, options.seconds)
        said[f"served_share_of_{count}"] = round(share, 4)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
