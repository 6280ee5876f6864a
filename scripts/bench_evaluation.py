"""How much faster streams are evaluated several videos at once than one after the other.

python scripts/bench_evaluation.py DATA --models camera_motion x3d_s
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.datasets.layouts import ALL, open_dataset
from co3d.evaluation import StreamEvaluator, make_jobs
from co3d.evaluation.records import VideoRecord


def main() -> None:
    """Measure each network, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="any data set that `co3d eval` reads")
    parser.add_argument("--models", nargs="+", default=["camera_motion", "x3d_s"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "command": f"python scripts/bench_evaluation.py --rounds {arguments.rounds}",
        "hardware": describe_hardware(),
        "cores": torch.get_num_threads(),
        "networks": {
            name: measure(name, arguments.data, arguments.rounds, arguments.limit)
            for name in arguments.models
        },
    }
    print(json.dumps(result, indent=2))


def measure(name: str, data: Path, rounds: int, limit: int | None) -> dict[str, Any]:
    """Frames a second one video at a time and several at once, interleaved; medians and ratio."""
    manifest = open_dataset(data, split=ALL)
    classes = len(manifest.class_names)
    model = co3d.create_model(name, weights="random", num_classes=classes)
    compiled = co3d.compile(co3d.convert(model, model.card.clip_shape))
    jobs = make_jobs(manifest, classes, limit)
    rates: dict[str, list[float]] = {"alone": [], "at_once": []}
    made: dict[str, list[VideoRecord]] = {}
    for number in range(rounds + 1):
        for kind, at_once in (("alone", 1), ("at_once", None)):
            evaluator = StreamEvaluator(
                manifest,
                model.card,
                compiled,
                fill="zeros",
                rate_hz=model.card.rate_hz,
                at_once=at_once,
            )
            started = time.perf_counter()
            records = list(evaluator.evaluate(jobs))
            spent = time.perf_counter() - started
            made[kind] = sorted(records, key=lambda record: record.index)
            if number:  # the first round fills caches
                rates[kind].append(sum(record.frames for record in records) / spent)
    if made["alone"] != made["at_once"]:
        raise SystemExit("results differ")
    return {
        "videos": len(jobs),
        "frames": sum(record.frames for record in made["alone"]),
        "alone_frames_per_second": statistics.median(rates["alone"]),
        "at_once_frames_per_second": statistics.median(rates["at_once"]),
        "ratio": statistics.median(
            fast / slow for fast, slow in zip(rates["at_once"], rates["alone"], strict=True)
        ),
        "best_ratio": max(rates["at_once"]) / max(rates["alone"]),
    }


if __name__ == "__main__":
    main()
