"""What a further stream of a compiled program costs: memory, opening, and steps of some of many.

    python scripts/bench_slots.py --output docs/results

Every ratio is of two figures from one run, measured in turns: what k of 64 slots cost a frame is
beside what a lone stream cost in the same round. Weights are random: they change none of this.
"""

import argparse
import gc
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.files import output_file
from co3d.runtime import CompiledProgram, Slot

SUBJECTS = (("x3d_m", "float32"), ("x3d_m", "bfloat16"), ("camera_motion", "float32"))
SLOTS, ACTIVE = 64, (1, 2, 8, 32, 64)
ROUNDS, CLOSED = 7, 2000
MS = 1e3


def main() -> None:
    """Measure everything and write bench_slots.json and bench_slots.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    subjects = {}
    for model, precision in track(SUBJECTS, description="networks"):
        subjects[f"{model}, {precision}"] = measure(model, precision)
    result = {
        "command": "python scripts/bench_slots.py",
        "hardware": describe_hardware(),
        "torch": torch.__version__,
        "copy_gb_per_second": {str(n): measure_copy(n) for n in (1, 2)},
        "subjects": subjects,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    with output_file(arguments.output / "bench_slots.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n")
    with output_file(arguments.output / "bench_slots.md") as path:
        path.write_text(format_markdown(result))
    print((arguments.output / "bench_slots.md").read_text())


def measure(model_name: str, precision: str) -> dict[str, Any]:
    """All figures of one network in one precision, on the native backend."""
    model = co3d.create_model(model_name, weights="random" if model_name == "x3d_m" else None)
    program = co3d.convert(model, model.card.clip_shape)
    torch.set_num_threads(1)
    one = co3d.compile(program, backend="native", precision=precision)
    slots, figures = measure_opening(one)
    figures["state_bytes"] = count_state_bytes(one)
    figures |= measure_one_of_many(slots)
    figures["active"] = measure_active(one, slots)
    for slot in slots:
        slot.close()
    torch.set_num_threads(2)
    two = co3d.compile(program, backend="native", precision=precision)
    figures["two_threads"] = measure_two_threads(one, two)
    figures["closed"] = measure_closing(one)
    return figures


def count_state_bytes(compiled: CompiledProgram) -> int:
    """Bytes of a slot's elements in the precision in which they are kept."""
    with compiled.open() as slot:
        return sum(e.numel() * e.itemsize for past in slot.state.read() for e in past)


def measure_opening(compiled: CompiledProgram) -> tuple[list[Slot], dict[str, float]]:
    """Slots that have stepped, with the memory and the time that each took."""
    frame = torch.randn(1, *compiled.program.frame_shape)
    with compiled.open() as first:
        compiled.step([first], frame)
    slots, times = [], []
    before = read_resident_bytes()
    for _ in range(SLOTS):
        start = time.perf_counter()
        slots.append(compiled.open())
        times.append((time.perf_counter() - start) * MS)
    for slot in slots:
        compiled.step([slot], frame)
        slot.reset()  # which writes to all of its memory; the system gives none before
    grown = (read_resident_bytes() - before) / (SLOTS - 1)  # one took what the first gave back
    return slots, {
        "bytes_per_further_stream": grown,
        "open_ms": statistics.median(times),
        "open_ms_worst": max(times),
    }


def measure_one_of_many(slots: Sequence[Slot]) -> dict[str, float]:
    """Median milliseconds to reset, copy and restore one slot while so many are open."""
    slot = slots[len(slots) // 2]
    snapshot = slot.snapshot()
    calls: dict[str, Callable[[], object]] = {
        "snapshot_ms": slot.snapshot,
        "restore_ms": lambda: slot.restore(snapshot),
        "reset_ms": slot.reset,
    }
    return {
        name: statistics.median(time_ms(call) for _ in range(9)) for name, call in calls.items()
    }


def measure_active(compiled: CompiledProgram, slots: Sequence[Slot]) -> dict[str, dict[str, float]]:
    """CPU milliseconds a frame on one thread, of k of the slots and of a lone stream, in turns."""
    frames = torch.randn(len(slots), *compiled.program.frame_shape)
    with compiled.open() as lone:
        warm_up(compiled, [lone, *slots])
        figures = {}
        for k in ACTIVE:
            turn, alone, some = 0, [], []
            for _ in range(ROUNDS):
                steps = max(2, 32 // k)
                alone.append(
                    measure_cpu_ms(*[partial(compiled.step, [lone], frames[:1])] * 16) / 16
                )
                # All of the slots come in turn, so that none lies in the caches.
                calls = []
                for _ in range(steps):
                    chosen = [slots[(turn + j) % len(slots)] for j in range(k)]
                    calls.append(partial(compiled.step, chosen, frames[:k]))
                    turn += k
                some.append(measure_cpu_ms(*calls) / (steps * k))
            ratios = [a / b for a, b in zip(some, alone, strict=True)]
            figures[str(k)] = {
                "cpu_ms_per_frame": statistics.median(some),
                "lone_cpu_ms_per_frame": statistics.median(alone),
                "ratio": statistics.median(ratios),
            }
    return figures


def measure_two_threads(one: CompiledProgram, two: CompiledProgram) -> dict[str, dict[str, float]]:
    """Frames per second of two threads with some streams, beside one thread with one stream."""
    figures = {}
    for count in (2, 8, 64):
        slots = [two.open() for _ in range(count)]
        own = [one.open() for _ in range(count)]
        frames = torch.randn(count, *one.program.frame_shape)
        warm_up(two, slots)
        warm_up(one, own)
        steps = max(1, 32 // count)
        alone, together, threads = [], [], []
        for _ in range(ROUNDS):
            alone.append(measure_rate(partial(one.step, own[:1], frames[:1]), 16, 1))
            together.append(measure_rate(partial(two.step, slots, frames), steps, count))
            threads.append(measure_thread_rate(one, own, frames, steps))
        for slot in (*slots, *own):
            slot.close()
        figures[str(count)] = {
            "one_stream_frames_per_second": statistics.median(alone),
            "frames_per_second": statistics.median(together),
            "ratio": statistics.median([a / b for a, b in zip(together, alone, strict=True)]),
            "python_threads_ratio": statistics.median(
                [a / b for a, b in zip(threads, alone, strict=True)]
            ),
        }
    return figures


def warm_up(compiled: CompiledProgram, slots: Sequence[Slot]) -> None:
    """Bring slots of one compiled program past their videos' beginnings, where masks are needed."""
    frame = torch.randn(1, *compiled.program.frame_shape)
    first, *others = slots
    for _ in range(compiled.program.masked_steps):
        compiled.step([first], frame)
    snapshot = first.snapshot()
    for slot in others:
        slot.restore(snapshot)


def measure_thread_rate(
    compiled: CompiledProgram, slots: Sequence[Slot], frames: torch.Tensor, steps: int
) -> float:
    """Frames per second of two Python threads that share a compiled program."""

    def work(mine: Sequence[Slot]) -> None:
        for _ in range(steps):
            for i, slot in enumerate(mine):
                compiled.step([slot], frames[i : i + 1])

    workers = [threading.Thread(target=work, args=(slots[i::2],)) for i in range(2)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return steps * len(slots) / (time.perf_counter() - start)


def measure_closing(compiled: CompiledProgram) -> dict[str, int]:
    """What is left of many streams that were opened, stepped and closed one after the other."""
    frame = torch.randn(1, *compiled.program.frame_shape)

    def use(count: int) -> None:
        for _ in range(count):
            with compiled.open() as slot:
                compiled.step([slot], frame)

    use(20)
    gc.collect()
    before = read_resident_bytes(), count_descriptors(), threading.active_count()
    use(CLOSED)
    gc.collect()
    after = read_resident_bytes(), count_descriptors(), threading.active_count()
    grown = [b - a for a, b in zip(before, after, strict=True)]
    return dict(zip(("bytes", "descriptors", "threads"), grown, strict=True))


def measure_copy(threads: int) -> float:
    """GB read and written a second by large copies on so many threads: the memory's bandwidth."""
    torch.set_num_threads(threads)
    source, target = torch.ones(1 << 27), torch.empty(1 << 27)
    seconds = min(time_ms(lambda: target.copy_(source)) for _ in range(5)) / MS
    return 2 * source.numel() * source.itemsize / seconds / 1e9


def measure_cpu_ms(*calls: Callable[[], object]) -> float:
    """CPU milliseconds of some calls, of all threads of the process."""
    start = time.process_time()
    for call in calls:
        call()
    return (time.process_time() - start) * MS


def measure_rate(call: Callable[[], object], times: int, frames: int) -> float:
    """Frames per second of calls that step so many frames each."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return times * frames / (time.perf_counter() - start)


def time_ms(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * MS


def read_resident_bytes() -> int:
    """Memory of the process that lies in the machine's (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def count_descriptors() -> int:
    """Open files of the process (Linux)."""
    return len(list(Path("/proc/self/fd").iterdir()))


def format_markdown(result: dict[str, Any]) -> str:
    """The figures as tables."""
    copies = result["copy_gb_per_second"]
    lines = [
        f"Native backend, torch {result['torch']}, {result['hardware']}. "
        f"Written by `{result['command']}`.",
        "",
        f"Large copies read and write {copies['1']:.1f} GB/s on one thread and {copies['2']:.1f} "
        "on two.",
        "",
        f"A further stream among {SLOTS}:",
        "",
        "| network | state MB | memory MB | open ms (worst) | reset ms | copy ms | restore ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figures in result["subjects"].items():
        lines.append(
            f"| {name} | {figures['state_bytes'] / 1e6:.2f} "
            f"| {figures['bytes_per_further_stream'] / 1e6:.2f} "
            f"| {figures['open_ms']:.1f} ({figures['open_ms_worst']:.1f}) "
            f"| {figures['reset_ms']:.1f} | {figures['snapshot_ms']:.1f} "
            f"| {figures['restore_ms']:.1f} |"
        )
    lines += [
        "",
        f"CPU-ms a frame when k of {SLOTS} slots step, one thread (÷ a lone stream's):",
        "",
        f"| network | lone | {' | '.join(f'k = {k}' for k in ACTIVE)} |",
        f"|---|{'---:|' * (len(ACTIVE) + 1)}",
    ]
    for name, figures in result["subjects"].items():
        cells = [
            f"{figures['active'][str(k)]['cpu_ms_per_frame']:.2f} "
            f"({figures['active'][str(k)]['ratio']:.2f})"
            for k in ACTIVE
        ]
        lone = figures["active"]["1"]["lone_cpu_ms_per_frame"]
        lines.append(f"| {name} | {lone:.2f} | {' | '.join(cells)} |")
    lines += [
        "",
        "Frames per second on two threads ÷ one thread with one stream; slots named in one step, "
        "and by two Python threads:",
        "",
        "| network | 2 streams | 8 streams | 64 streams |",
        "|---|---:|---:|---:|",
    ]
    for name, figures in result["subjects"].items():
        cells = [
            f"{pair['ratio']:.2f}, {pair['python_threads_ratio']:.2f}"
            for pair in figures["two_threads"].values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"Left of {CLOSED} streams that were opened, stepped and closed:", ""]
    for name, figures in result["subjects"].items():
        left = figures["closed"]
        lines.append(
            f"- {name}: {left['bytes'] / 1e6:.2f} MB, {left['descriptors']} descriptors, "
            f"{left['threads']} threads."
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
