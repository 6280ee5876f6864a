"""Processes started by torchrun: how they share work and gather results."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=7)
"""Timeout for the slowest process; if one dies, torchrun ends all of them."""


@dataclass(frozen=True)
class Rank:
    """This process among those of the run.

    Attributes:
        number: from 0; process 0 reports. count: of processes. local: number on this machine.
    """

    number: int = 0
    count: int = 1
    local: int = 0

    @property
    def reports(self) -> bool:
        """Whether this process writes the report."""
        return self.number == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's share: every `count`-th item; shares differ by one item at most."""
        return list(items[self.number :: self.count])

    def gather(self, value: T) -> list[T]:
        """The values of all processes, ordered by number; every process gets them."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values


@contextmanager
def open_rank() -> Iterator[Rank]:
    """Join the processes that torchrun started; without torchrun there is one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Rank()
        return
    torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield Rank(torch.distributed.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        torch.distributed.destroy_process_group()
