"""What different ways to lower a step cost, measured in turn on this machine.

    python scripts/compare_lowerings.py

Two questions, whose answers docs/log.md records: how best to compute a depthwise convolution over
three frames, and in which memory layout OpenVINO should find the state.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, fx, nn

import co3d
from co3d.backends.buffers import BufferPool
from co3d.backends.contract import make_map
from co3d.backends.graph_executable import GraphExecutor
from co3d.backends.graphs.onnx_graph import write_onnx
from co3d.backends.onnx_runtime import OnnxRuntimeExecutor
from co3d.backends.openvino_cpu import OpenVinoExecutor, open_core

CPU = torch.device("cpu")
ROUNDS, WARM_CALLS, TIMED_CALLS = 12, 4, 10
# Channels and side of X3D-M's depthwise convolutions.
MAPS = ((54, 56), (108, 28), (216, 14), (432, 7))


class Block(nn.Module):
    """Expand, convolve depthwise over two past frames and the new one, project."""

    def __init__(self, channels: int, way: str) -> None:
        super().__init__()
        self.register_buffer("expand", torch.randn(channels, 24, 1, 1) / 5)
        self.register_buffer("weight", torch.randn(channels, 1, 3, 3, 3) / 5)
        self.register_buffer("project", torch.randn(24, channels, 1, 1) / 5)
        self.way = way

    def forward(self, x: Tensor, older: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and the frame to remember."""
        new = F.relu(F.conv2d(x, self.expand))
        frames, channels = (older, old, new), self.weight.shape[0]
        if self.way == "sum of three 2-D convolutions":
            parts = [
                F.conv2d(frame, self.weight[:, :, tap], padding=1, groups=channels)
                for tap, frame in enumerate(frames)
            ]
            y = parts[0] + parts[1] + parts[2]
        elif self.way == "one 2-D convolution side by side":
            taps = torch.cat([self.weight[:, :, tap] for tap in range(3)])
            wide = F.conv2d(torch.cat(frames, 1), taps, padding=1, groups=3 * channels)
            first, second, third = wide.chunk(3, 1)
            y = first + second + third
        else:
            clip = torch.stack(frames, 2)
            y = F.conv3d(clip, self.weight, padding=(0, 1, 1), groups=channels).squeeze(2)
        return F.conv2d(F.silu(y), self.project), new


WAYS = (
    "sum of three 2-D convolutions",
    "one 2-D convolution side by side",
    "one 3-D convolution over a stack",
)


def main() -> None:
    """Measure both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    with torch.inference_mode():
        compare_depthwise()
        compare_layouts()


def open_executors() -> dict[str, GraphExecutor]:
    """The executors that are compared."""
    threads = torch.get_num_threads()
    return {
        "onnxruntime float32": OnnxRuntimeExecutor("float32", threads),
        "openvino float32": OpenVinoExecutor("float32", torch.float32, threads),
        "openvino bfloat16": OpenVinoExecutor("bfloat16", torch.bfloat16, threads),
    }


def compare_depthwise() -> None:
    """A block of X3D-M at its four sizes, the depthwise convolution written in three ways."""
    table = Table(title="one block, ms (median)")
    for heading in ("backend", "channels x side", *WAYS):
        table.add_column(heading)
    for (name, executor), (channels, side) in itertools.product(open_executors().items(), MAPS):
        examples = [
            make_map((1, c, side, side), executor.dtype, CPU, executor.map_layout).normal_()
            for c in (24, channels, channels)
        ]
        calls = {}
        for way in WAYS:
            graph = fx.symbolic_trace(Block(channels, way))
            calls[way] = bind(graph, examples, executor)
        medians = measure(calls)
        table.add_row(name, f"{channels} x {side}", *(f"{medians[way]:.3f}" for way in WAYS))
    Console().print(table)


def compare_layouts() -> None:
    """X3D-M's step in OpenVINO, the state as planes and with channels last."""
    import openvino

    program = co3d.convert(co3d.create_model("x3d_m", weights="random"), (3, 16, 224, 224))
    graph = program.phases[0].steady
    shapes = [(1, *shape) for shape in program.frame_shapes]
    shapes += [(1, *spec.shape) for spec in program.states for _ in range(spec.depth)]
    calls: dict[str, Callable[[], object]] = {}
    for dtype, word in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        executor = OpenVinoExecutor(str(dtype), dtype, torch.get_num_threads())
        examples = [make_map(s, dtype, CPU, executor.map_layout).normal_() for s in shapes]
        calls[f"{word}, channels last"] = bind(graph, examples, executor)
        core = open_core()
        options = {
            "INFERENCE_PRECISION_HINT": word,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        model = core.read_model(write_onnx(graph, examples).SerializeToString())
        request = core.compile_model(model, "CPU", options).create_infer_request()
        for i, value in enumerate(request.model_inputs):
            planes = torch.randn(tuple(value.shape)).numpy()
            request.set_input_tensor(i, openvino.Tensor(planes))
        calls[f"{word}, planes of float32"] = request.infer
    table = Table("X3D-M step in OpenVINO, state as", "ms (median)")
    for name, median in measure(calls).items():
        table.add_row(name, f"{median:.2f}")
    Console().print(table)


def bind(graph: fx.GraphModule, examples: list[Tensor], executor: GraphExecutor) -> Callable:
    """A step of one slot; its newest elements lie where the step before left free memory."""
    pool = BufferPool(executor.map_layout)
    run = executor.prepare(graph, examples, 1)(pool)

    def step() -> None:
        for newest in run(examples)[1:]:
            pool.give(newest)

    return step


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each, in bursts that take turns.

    The first calls of a burst do not count: the thread pools of different runtimes disturb each
    other for a moment.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for i in range(WARM_CALLS + TIMED_CALLS):
                start = time.perf_counter()
                call()
                if i >= WARM_CALLS:
                    times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
