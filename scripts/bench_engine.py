"""What the engine makes of two cores: throughput, latency, overload.

python scripts/bench_engine.py --output docs/results
"""

import argparse
import json
import math
import multiprocessing
import platform
import statistics
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.engine import Engine, Prediction, Results, Track
from co3d.engine.metrics import TrackMetrics
from co3d.engine.preprocessing import Preprocessor
from co3d.files import output_file
from co3d.video import VideoFrame

NETWORKS = ("x3d_s", "camera_motion")
PICTURE = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
ROUNDS, SECONDS = 3, 5.0
MIXED_RATES_HZ = (1.0, 2.0, 4.0, 8.0)


def main() -> None:
    """Measure all, and write JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--overload-seconds", type=float, default=600.0)
    parser.add_argument(
        "--throughput", action="store_true", help="measure throughput alone, and write no files"
    )
    arguments = parser.parse_args()
    if arguments.throughput:
        for name in NETWORKS:
            print(name, json.dumps(measure_throughput(name), indent=1), flush=True)
        return
    result: dict[str, Any] = {
        "command": "python scripts/bench_engine.py",
        "torch": torch.__version__,
        "hardware": describe_hardware(),
        "python": platform.python_version(),
        "networks": {},
    }
    for name in NETWORKS:
        throughput = measure_throughput(name)
        result["networks"][name] = {
            "throughput": throughput,
            "latency": measure_latency(name),
            "overload": measure_overload(name, arguments.overload_seconds, throughput),
        }
        print(name, json.dumps(result["networks"][name], indent=1), flush=True)
    with output_file(arguments.output / "bench_engine.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n")
    with output_file(arguments.output / "bench_engine.md") as path:
        path.write_text(format_markdown(result))


def compile_network(name: str, threads: int) -> tuple[co3d.CompiledProgram, co3d.ModelCard]:
    """A registered network on the native backend."""
    torch.set_num_threads(threads)
    model = co3d.create_model(name, weights=None if name == "camera_motion" else "random")
    program = co3d.convert(model, model.card.clip_shape)
    return co3d.compile(program, backend="native"), model.card


def run_single(name: str, queue: Any, start: Any) -> None:
    """Frames a second and CPU-seconds a frame of one stream on one thread, in its own process."""
    compiled, card = compile_network(name, 1)
    preprocess = Preprocessor(card, uses_kernel=True)
    with compiled.open() as slot:
        for _ in range(30):
            compiled.step([slot], preprocess(PICTURE))
        queue.put(None)
        start.wait()
        frames, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < SECONDS:
            result = compiled.step([slot], preprocess(PICTURE))
            card.probabilities(result.output).topk(3)
            frames += 1
        spent = time.perf_counter() - began
        queue.put((frames / spent, (time.process_time() - cpu) / frames))


def measure_singles(name: str) -> tuple[float, float]:
    """What a single stream per core reaches, each in a process: frames a second, CPU-ms a frame."""
    context = multiprocessing.get_context("spawn")
    queue, start = context.Queue(), context.Event()
    processes = [context.Process(target=run_single, args=(name, queue, start)) for _ in range(2)]
    for process in processes:
        process.start()
    for _ in processes:
        queue.get()
    start.set()
    figures = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rate for rate, _ in figures), 1e3 * statistics.mean(cpu for _, cpu in figures)


def measure_throughput(name: str) -> dict[str, Any]:
    """Frames a second of 2 and 8 tracks that never wait, beside a single stream per core."""
    compiled, card = compile_network(name, 2)
    figures: dict[str, Any] = {"single_streams": [], "tracks": {}}
    rounds: dict[int, list[tuple[float, float, float]]] = {2: [], 8: []}
    for _ in range(ROUNDS):
        alone, alone_cpu_ms = measure_singles(name)
        figures["single_streams"].append(alone)
        for count in rounds:
            rate, cpu_ms = measure_engine(compiled, card, count)
            rounds[count].append((rate, rate / alone, alone_cpu_ms / cpu_ms))
    for count, measured in rounds.items():
        columns = [statistics.median(column) for column in zip(*measured, strict=True)]
        names = ("frames_per_second", "ratio", "ratio_of_cpu_time")
        figures["tracks"][str(count)] = dict(zip(names, columns, strict=True))
    return figures


def measure_engine(
    compiled: co3d.CompiledProgram, card: co3d.ModelCard, count: int
) -> tuple[float, float]:
    """Frames a second, and CPU-ms of the whole process a frame, of recordings that never wait."""
    with Engine(compiled, card, load_limit=None) as engine:
        results = Results(1000)
        tracks = [
            engine.join(policy="every", results=results, keeps_pictures=False) for _ in range(count)
        ]
        taken = count_in_background(results, lambda _: None)
        for track in tracks:
            threading.Thread(target=feed, args=(track,)).start()
        time.sleep(1)
        began, before, cpu = time.perf_counter(), taken(), time.process_time()
        time.sleep(SECONDS)
        frames = taken() - before
        spent = time.perf_counter() - began
        return frames / spent, 1e3 * (time.process_time() - cpu) / frames


class StillReader:
    """Gives one picture for ever, as a reader would that decodes for nothing."""

    dropped_frames = 0
    elsewhere_seconds = 0.0

    def __iter__(self) -> Any:
        number = 0
        while True:
            yield VideoFrame(PICTURE, number / 8, number)
            number += 1


def feed(track: Track) -> None:
    """Let a recording never wait, until its engine is closed."""
    track.follow(StillReader())  # type: ignore[arg-type]


def count_in_background(results: Results, see: Callable[[Prediction], None]) -> Callable[[], int]:
    """Take all predictions in a thread; what is returned says how many came so far."""
    counted = [0]

    def take() -> None:
        for item in results:
            if isinstance(item, Prediction):
                counted[0] += 1
                see(item)

    threading.Thread(target=take).start()  # it ends with the results
    return lambda: counted[0]


def push_live(tracks: list[Track], seconds: float) -> None:
    """Push each track's pictures when they are due, from one thread."""
    began = time.monotonic()
    due = [(0.37 * number % 1 / track.rate_hz, track) for number, track in enumerate(tracks)]
    while True:
        due.sort(key=lambda pair: pair[0])
        at, track = due[0]
        if at > seconds:
            return
        wait = began + at - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        track.push(PICTURE, at)
        due[0] = (at + 1 / track.rate_hz, track)


def join_load(engine: Engine, share: float, rates_hz: tuple[float, ...], results: Results):
    """Join live tracks of mixed rates until they take such a share of the machine."""
    tracks: list[Track] = []
    while True:
        rate_hz = rates_hz[len(tracks) % len(rates_hz)]
        if engine.load + rate_hz * engine.step_cost_ms / 1e3 / 2 > share:
            return tracks
        tracks.append(engine.join(rate_hz=rate_hz, results=results, keeps_pictures=False))


def measure_latency(name: str) -> dict[str, Any]:
    """Latency of live tracks at mixed rates that take 80 % of the machine, in periods of theirs."""
    compiled, card = compile_network(name, 2)
    with Engine(compiled, card, load_limit=None) as engine:
        results = Results(100_000)
        tracks = join_load(engine, 0.8, MIXED_RATES_HZ, results)
        periods: list[float] = []
        by_name = {track.name: track for track in tracks}

        def see(prediction: Prediction) -> None:
            latency_ms = prediction.queue_ms + prediction.latency_ms
            periods.append(latency_ms / 1e3 * by_name[prediction.track].rate_hz)

        count_in_background(results, see)
        push_live(tracks, 20.0)
        time.sleep(0.5)
        metrics = [track.metrics() for track in tracks]
        return {
            "tracks": len(tracks),
            "p50_periods": float(np.percentile(periods, 50)),
            "p95_periods": float(np.percentile(periods, 95)),
            "p99_periods": float(np.percentile(periods, 99)),
            "dropped_frames": sum(one.dropped_frames for one in metrics),
            "predictions": len(periods),
        }


def measure_overload(name: str, seconds: float, throughput: dict[str, Any]) -> dict[str, Any]:
    """Twice as many live tracks as fit: lag, memory and shares of rates over time."""
    compiled, card = compile_network(name, 2)
    with Engine(compiled, card, load_limit=None) as engine:
        results = Results(100_000)
        rate_hz = MIXED_RATES_HZ[-1]
        count = math.ceil(2 * throughput["tracks"]["8"]["frames_per_second"] / rate_hz)
        tracks = [
            engine.join(rate_hz=rate_hz, results=results, keeps_pictures=False)
            for _ in range(count)
        ]
        # Times and lags in turn; a list of pairs would itself grow by 100 bytes a prediction.
        lags = array("d")
        began = time.monotonic()

        def see(prediction: Prediction) -> None:
            lags.extend((time.monotonic() - began, prediction.lag_ms or 0.0))

        taken = count_in_background(results, see)
        memory: list[int] = []

        def watch() -> None:
            while time.monotonic() - began < seconds:
                memory.append(read_resident_bytes())
                time.sleep(seconds / 20)

        threading.Thread(target=watch, daemon=True).start()
        push_live(tracks, seconds)
        metrics = [track.metrics() for track in tracks]
        steps = [one.steps for one in metrics]
        served_share = sum(steps) / sum(one.pictures for one in metrics)
        metrics = wait_for_last_steps(tracks)
        delay = compiled.program.delay
        half = seconds / 2
        waiting = sum(one.pictures - one.dropped_frames - one.steps for one in metrics)
        return {
            "tracks": len(tracks),
            "seconds": seconds,
            "served_share": served_share,
            "least_share_of_mean": min(steps) / statistics.mean(steps),
            "greatest_share_of_mean": max(steps) / statistics.mean(steps),
            "lag_p95_ms_first_half": percentile_of(lags, lambda at: (at > 1) & (at < half)),
            "lag_p95_ms_second_half": percentile_of(lags, lambda at: at >= half),
            "resident_mb": [
                round(size / 1e6, 1) for size in (memory[len(memory) // 4], memory[-1])
            ],
            # The newest picture of each track waits for the next, which settles its tick.
            "frames_not_accounted_for": waiting - len(tracks),
            "predictions": taken(),
            "delay": delay,
        }


def wait_for_last_steps(tracks: list[Track]) -> list[TrackMetrics]:
    """What tracks have done once they have stepped all that waits."""
    while True:
        metrics = [track.metrics() for track in tracks]
        time.sleep(1)
        if sum(one.steps for one in metrics) == sum(track.metrics().steps for track in tracks):
            return metrics


def percentile_of(lags: "array[float]", wanted: Callable[[np.ndarray], np.ndarray]) -> float:
    """95th percentile of the lags at some times, in milliseconds."""
    at_seconds, lags_ms = np.array(lags).reshape(-1, 2).T
    return float(np.percentile(lags_ms[wanted(at_seconds)], 95))


def read_resident_bytes() -> int:
    """Memory of the process that lies in the machine's (Linux)."""
    import os

    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def format_markdown(result: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = [
        f"Native backend, float32, torch {result['torch']}, Python {result['python']}, "
        f"{result['hardware']}. Written by `{result['command']}`.",
        "",
        "Pictures of 640 by 360 pixels, preprocessing included, no decoding.",
        "",
        "Frames a second of recordings that never wait ÷ the sum of a single stream per core, each "
        "in a process of its own; and the same of frames per CPU-second, which other programs on "
        "the machine do not disturb:",
        "",
        "| network | single streams, frames/s | 2 tracks | 8 tracks |",
        "|---|---:|---:|---:|",
    ]
    for name, figures in result["networks"].items():
        found = figures["throughput"]
        cells = [
            f"{one['ratio']:.2f}, {one['ratio_of_cpu_time']:.2f}"
            for one in found["tracks"].values()
        ]
        alone = statistics.median(found["single_streams"])
        lines.append(f"| {name} | {alone:.0f} | {' | '.join(cells)} |")
    lines += [
        "",
        "Live tracks at 1, 2, 4 and 8 frames a second that take 80 % of the machine: time from a "
        "frame's arrival to its prediction, in periods of its track (must be at most 1 at p95):",
        "",
        "| network | tracks | p50 | p95 | p99 | dropped |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, figures in result["networks"].items():
        found = figures["latency"]
        lines.append(
            f"| {name} | {found['tracks']} | {found['p50_periods']:.2f} "
            f"| {found['p95_periods']:.2f} | {found['p99_periods']:.2f} "
            f"| {found['dropped_frames']} of {found['dropped_frames'] + found['predictions']} |"
        )
    lines += [
        "",
        "Live tracks at 8 frames a second, twice as many as those 8 tracks' frames a second serve:",
        "",
        "| network | tracks | seconds | served | least and greatest share ÷ mean "
        "| lag p95 ms, first and second half | memory MB, after a quarter and at the end "
        "| frames not accounted for |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figures in result["networks"].items():
        found = figures["overload"]
        early, late = found["resident_mb"]
        lines.append(
            f"| {name} | {found['tracks']} | {found['seconds']:.0f} "
            f"| {found['served_share']:.0%} "
            f"| {found['least_share_of_mean']:.3f}, {found['greatest_share_of_mean']:.3f} "
            f"| {found['lag_p95_ms_first_half']:.0f}, {found['lag_p95_ms_second_half']:.0f} "
            f"| {early:.0f}, {late:.0f} | {found['frames_not_accounted_for']} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
