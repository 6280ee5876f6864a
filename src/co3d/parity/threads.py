"""Threads for a comparison."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from co3d.compiler.program import SMALL_NETWORK_MACS, StepProgram


@contextmanager
def few_threads(program: StepProgram) -> Iterator[None]:
    """One thread for a small network."""
    before = torch.get_num_threads()
    if program.macs_per_frame < SMALL_NETWORK_MACS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
