"""Limits the memory that an untrusted file may use, for state and for the values of a step.

A graph is first run on fake tensors without data, so that nothing is allocated for one that needs
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
from co3d.export.peak_memory import PeakMemory

MOST_BYTES = 1 << 30
# A value may take this many times the bytes of the file's weights and inputs, or 64 MB.
_TIMES, _FEW_BYTES = 64, 64 << 20


def limit_values(brought_bytes: int, most_bytes: int) -> int:
    """The most bytes that a value may take, given the bytes of weights and inputs."""
    return min(most_bytes, max(_FEW_BYTES, _TIMES * brought_bytes))


def check_state(program: Program[Any], origin: str, most_bytes: int) -> None:
    """Check that frames, results and state take at most `most_bytes`.

    Raises:
        ExportedFileError: they take more; the message names how much.
    """
    shapes = [*program.frame_shapes, *program.output_shapes]
    asked = program.state_bytes + sum(8 * math.prod(shape) for shape in shapes)
    if asked > most_bytes:
        raise ExportedFileError(
            f"cannot run {origin}: its frames and state take {asked} bytes, expected at most "
            f"{most_bytes}; if you trust it, load_program(path, most_bytes=…) allows more"
        )


def check_values(program: Program[Any], origin: str, most_bytes: int) -> None:
    """Check that graphs can run, and that their values are not too large.

    Args:
        program: a program read from a file, with its graphs in memory.
        origin: the file, for messages.
        most_bytes: the limit for any value, and for all values that are alive at the same time.

    Raises:
        ExportedFileError: a value is too large or fails; the message names it.
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
                    limit = limit_values(brought, most_bytes)
                    _run(graph, inputs, origin, limit).check(origin, most_bytes)


def _run(graph: Any, inputs: list[Tensor], origin: str, limit: int) -> PeakMemory:
    said = logging.getLogger("torch._subclasses.fake_tensor")
    level = said.level
    said.setLevel(logging.CRITICAL)  # it would log stack traces for errors that are handled here
    try:
        interpreter = MeasuringInterpreter(graph, origin, limit)
        interpreter.run(*inputs)
        return interpreter.alive
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
