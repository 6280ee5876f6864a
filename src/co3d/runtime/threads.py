"""Chooses how many threads step a program on a CPU."""

from typing import Any

import torch

from co3d.compiler.program import SMALL_NETWORK_MACS, Program


def choose_threads(program: Program[Any]) -> int:
    """Threads per step on a CPU: torch's number, or one for a small network.

    In a network with fewer multiply-accumulates per frame than `SMALL_NETWORK_MACS`, threads wait
    for each other longer than they compute.
    """
    return 1 if program.macs_per_frame < SMALL_NETWORK_MACS else torch.get_num_threads()


def list_thread_counts(program: Program[Any]) -> tuple[int, ...]:
    """The numbers of threads to measure: one, and torch's number."""
    return tuple(sorted({1, choose_threads(program)}))
