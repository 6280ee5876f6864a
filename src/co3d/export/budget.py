"""What a file from elsewhere may ask for: memory for its state, and for any one value of a step.

A graph is run on tensors without content first, so that nothing is allocated for one that asks for
too much.
"""

import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from co3d.compiler.program import Program
from co3d.errors import ExportedFileError
from co3d.export.description import CLOCKS
from co3d.export.measuring import MeasuringInterpreter

MOST_BYTES = 1 << 30
# A value of a step may be so many times what the file itself brings, or a few megabytes.
_TIMES, _FEW_BYTES = 64, 64 << 20


def limit_values(brought_bytes: int, most_bytes: int) -> int:
    """Bytes that a value of a step may take, by what the file and the frames bring."""
    return min(most_bytes, max(_FEW_BYTES, _TIMES * brought_bytes))


def check_state(program: Program[Any], origin: str, most_bytes: int) -> None:
    """Refuse a file whose frames, results and state take more memory than it may have.

    Raises:
        ExportedFileError: naming how much that is.
    """
    shapes = [*program.frame_shapes, *program.output_shapes]
    asked = program.state_bytes + sum(8 * math.prod(shape) for shape in shapes)
    if asked > most_bytes:
        raise ExportedFileError(
            f"cannot run {origin}: its frames and state take {asked} bytes, expected at most "
            f"{most_bytes}; if you trust it, load_program(path, most_bytes=…) allows more"
        )


def check_values(program: Program[Any], origin: str, most_bytes: int) -> None:
    """Refuse graphs that cannot run, or of which a value takes more memory than it may have.

    Args:
        program: as a file describes it, with graphs in memory.
        origin: the file, for messages.
        most_bytes: that no value may take more than, whatever the file brings.

    Raises:
        ExportedFileError: naming the value.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        frames = [torch.empty(1, *shape) for shape in program.frame_shapes]
        clocks = [torch.empty(1, dtype=torch.int64) for _ in CLOCKS[program.edges]]
        past = [
            torch.empty(1, *spec.shape, dtype=spec.dtype)
            for spec in program.states
            for _ in range(spec.depth)
        ]
        for phase in program.phases:
            for graph, inputs in (
                (phase.steady, [*frames, *past]),
                (phase.masked, [*frames, *clocks, *past]),
            ):
                if graph is not None:
                    brought = sum(t.nbytes for t in (*inputs, *graph.buffers()))
                    _run(graph, inputs, origin, limit_values(brought, most_bytes))


def _run(graph: Any, inputs: list[Tensor], origin: str, limit: int) -> None:
    said = logging.getLogger("torch._subclasses.fake_tensor")
    level = said.level
    said.setLevel(logging.CRITICAL)  # it prints stacks of its own for what is said here
    try:
        MeasuringInterpreter(graph, origin, limit).run(*inputs)
    except ExportedFileError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        raise ExportedFileError(
            f"cannot run {origin}: its graph fails on frames of the shape that it names "
            f"({reason}); export the network again"
        ) from error
    finally:
        said.setLevel(level)
