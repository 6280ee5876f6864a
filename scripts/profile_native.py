"""Where a step's time goes on the native backend, by kind of operation and size of map.

Example:
    python scripts/profile_native.py x3d_m --precision bfloat16
"""

import argparse
import ctypes
import time
from collections import defaultdict
from typing import Any

import torch

import co3d
from co3d.backends.native.executor import NativeExecutor
from co3d.backends.native.operation import Kind, Operation
from co3d.backends.native.plan import NativeSteps
from co3d.backends.table import PRECISIONS
from co3d.runtime import CompiledProgram

WARM_UP_STEPS, STEPS = 80, 100


class TimedExecutor(NativeExecutor):
    """Runs operations one by one, and adds up how long each kind takes.

    Attributes:
        seconds, macs, counts: by kind and map, over all steps since `clear`.
    """

    def clear(self) -> None:
        """Forget what was measured."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.macs: dict[str, int] = defaultdict(int)
        self.counts: dict[str, int] = defaultdict(int)

    def run(self, operations: NativeSteps, buffers: Any) -> None:
        """See `NativeExecutor.run`."""
        size = ctypes.sizeof(Operation)
        for i in range(operations.count):
            one = (Operation * 1).from_buffer(operations.operations, i * size)
            start = time.perf_counter()
            super().run(NativeSteps(one, 1), buffers)
            name, macs = describe(one[0])
            self.seconds[name] += time.perf_counter() - start
            self.macs[name] += macs
            self.counts[name] += 1


def describe(operation: Operation) -> tuple[str, int]:
    """What an operation is, in words, and its multiply-accumulates."""
    kind = Kind(operation.kind)
    height, width = operation.out_height or 1, operation.out_width or 1
    taps = operation.kernel_height * operation.kernel_width
    macs = operation.batch * height * width * operation.out_channels * taps
    if kind is Kind.CONVOLVE:
        gate = " gated" if operation.gate >= 0 else ""
        name = f"convolution{gate} {operation.kernel_height}x{operation.kernel_width}"
        macs *= operation.in_channels
    elif kind is Kind.SUM_DEPTHWISE:
        name = f"depthwise sum {operation.kernel_height}x{operation.kernel_width}"
        macs *= operation.source_count
    else:
        name, macs = kind.name.lower(), 0
    return f"{name}, to {height}x{width}", macs


def main() -> None:
    """Step a network and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="x3d_m")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    model = co3d.create_model(options.model, weights="random")
    program = co3d.convert(model, model.card.clip_shape)
    threads = torch.get_num_threads()
    executor = TimedExecutor(options.precision, PRECISIONS[options.precision], threads)
    executor.clear()
    executable = executor.load(program)
    for table in executable._tables.values():  # type: ignore[attr-defined]
        table.can_step_together = False  # which makes a step one call
    compiled = CompiledProgram(program, executor, executable, executor.description)
    slot = compiled.open()
    frame = torch.randn(1, *program.frame_shape)
    for step in range(WARM_UP_STEPS + STEPS):
        if step == WARM_UP_STEPS:
            executor.clear()
        compiled.step([slot], frame)
    total = sum(executor.seconds.values())
    print(f"{options.model}, {executor.description}: {total / STEPS * 1e3:.2f} ms in operations")
    print("| operation | a step | ms | GMAC/s |")
    print("|---|---:|---:|---:|")
    for name, seconds in sorted(executor.seconds.items(), key=lambda item: -item[1]):
        count, speed = executor.counts[name] // STEPS, executor.macs[name] / seconds / 1e9
        print(f"| {name} | {count} | {seconds / STEPS * 1e3:.2f} | {speed:.0f} |")


if __name__ == "__main__":
    main()
