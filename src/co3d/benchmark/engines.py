"""Run networks on co3d's backends for the benchmark: steps and, for comparison, clips."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, fx

from co3d.backends.contract import make_map
from co3d.backends.table import BACKENDS, PRECISIONS
from co3d.compiler import StepProgram
from co3d.compiler.unroll import unroll_clip
from co3d.export import export_program, load_program
from co3d.runtime import Stream, open_stream

CALIBRATION_FRAMES = 24


def open_step(
    program: StepProgram, backend: str, precision: str, slots: int, device: torch.device
) -> Stream:
    """A stream; in int8 from an exported file calibrated on noise, which does not affect speed."""
    if precision != "int8":
        return open_stream(
            program, backend=backend, precision=precision, device=str(device), slots=slots
        )
    frames = (torch.randn(1, *program.frame_shape) for _ in range(CALIBRATION_FRAMES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_program(
            program, path, format="onnx", precision=precision, slots=slots, calibration=frames
        )
        return open_stream(load_program(path).program, backend=backend, device=str(device))


def open_clip(
    program: StepProgram, clip: Tensor, backend: str, precision: str
) -> tuple[Callable[[], object], str]:
    """A function that runs the clip network on one clip, and a description of the backend.

    It runs the clip graph that the program was made from, with batch norm folded as in the steps.
    Backends with kernels for 2-D maps run it frame by frame, layer after layer.
    """
    executor = BACKENDS[backend].open(precision, clip.device, torch.get_num_threads())
    if not BACKENDS[backend].runs_clips:
        # A stateless step over a whole clip, which benefits from the same optimisations.
        frames = [frame.float().contiguous() for frame in clip.unbind(2)]
        run_frames = executor.compile(unroll_clip(program), frames, len(program.output_shapes))
        return lambda: run_frames(frames), executor.description
    given = make_map(clip.shape, PRECISIONS[precision], clip.device, executor.map_layout)
    given.copy_(clip)
    run = executor.compile(_with_a_tuple(program.clip_graph), [given], 1)
    return lambda: run([given]), executor.description


def _with_a_tuple(graph: fx.GraphModule) -> fx.GraphModule:
    """The graph with its single output in a tuple, like step graphs."""
    copied = fx.Graph()
    output = copied.graph_copy(graph.graph, {})
    copied.output(output if isinstance(output, tuple) else (output,))
    return fx.GraphModule(graph, copied)
