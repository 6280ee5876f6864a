"""How many threads step a program."""

from typing import Any

import torch

from co3d.compiler.program import SMALL_NETWORK_MACS, Program


def choose_threads(program: Program[Any]) -> int:
    """Threads that a step takes on a CPU: those of torch, and one for a small network.

    The threads of a network with fewer multiply-accumulates per frame than `SMALL_NETWORK_MACS`
    wait for each other longer than they compute.
    """
    return 1 if program.macs_per_frame < SMALL_NETWORK_MACS else torch.get_num_threads()


def list_thread_counts(program: Program[Any]) -> tuple[int, ...]:
    """The numbers of threads that are worth measuring: one, and as many as torch has."""
    return tuple(sorted({1, choose_threads(program)}))
