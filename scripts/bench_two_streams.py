"""Whether two streams on two cores reach twice the throughput of one stream on one core.

    python scripts/bench_two_streams.py --output docs/results

Processes of one thread each, a stream in each: one alone, then two at once, in turn several times.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.files import output_file

MODEL, ROUNDS, ROUND_SECONDS = "x3d_m", 7, 4.0


def main() -> None:
    """Measure, and write two_streams.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        context.Process(target=work, args=(theirs, arguments.precision), daemon=True).start()
        pipes.append(ours)
    backend, _ = (pipe.recv() for pipe in pipes)
    alone, together = [], []
    for _ in range(ROUNDS):
        alone.append(run(pipes[:1]))
        together.append(run(pipes))
    for pipe in pipes:
        pipe.send("stop")
    ratios = [two / one for one, two in zip(alone, together, strict=True)]
    figures = {
        "command": f"python scripts/bench_two_streams.py --precision {arguments.precision}",
        "hardware": describe_hardware(),
        "model": MODEL,
        "backend": backend,
        "one_stream_frames_per_second": statistics.median(alone),
        "two_streams_frames_per_second": statistics.median(together),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }
    with output_file(arguments.output / "two_streams.json") as path:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def run(pipes: list[Connection]) -> float:
    """Frames per second of all these processes together, for a round."""
    for pipe in pipes:
        pipe.send("go")
    return sum(pipe.recv() for pipe in pipes)


def work(pipe: Connection, precision: str) -> None:
    """Open a stream, and step it for a round whenever told to."""
    torch.set_num_threads(1)
    model = co3d.create_model(MODEL, weights="random")
    program = co3d.convert(model, model.card.clip_shape)
    stream = co3d.open_stream(program, precision=precision)
    frame = torch.randn(1, *program.frame_shape)
    for _ in range(program.masked_steps + 10):
        stream.step(frame)
    pipe.send(stream.backend)
    while pipe.recv() == "go":
        start, frames = time.perf_counter(), 0
        while time.perf_counter() - start < ROUND_SECONDS:
            stream.step(frame)
            frames += 1
        pipe.send(frames / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
