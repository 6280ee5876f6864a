"""What the machine can do at most: matrix products and copies, measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

MATRIX_SIDES = (1024, 2048)
COPY_BYTES = 256 * 2**20
LEAST_CALLS, MOST_CALLS, MOST_SECONDS = 3, 20, 1.5


@dataclass(frozen=True)
class Ceilings:
    """The best of several calls, with the number of threads that torch uses.

    Attributes:
        gmacs_per_second: precision -> 10⁹ multiply-accumulates per second of a square matrix
            product.
        copy_gb_per_second: 10⁹ bytes per second, read and written, of a copy in memory.
    """

    gmacs_per_second: dict[str, float]
    copy_gb_per_second: float

    def product_ms(self, macs: float, precision: str) -> float | None:
        """Milliseconds of a matrix product of so many MACs; None for another precision."""
        ceiling = self.gmacs_per_second.get(precision)
        return None if ceiling is None else macs / ceiling / 1e6

    def copy_ms(self, read_bytes: float) -> float:
        """Milliseconds to read so many bytes from memory, as fast as a copy reads and writes."""
        return read_bytes / self.copy_gb_per_second / 1e6


def measure_ceilings() -> Ceilings:
    """Measure matrix products in float32 and bfloat16, and copies; takes some seconds."""
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return Ceilings(
        {name: _measure_product(dtype) for name, dtype in dtypes.items()}, _measure_copy()
    )


def _measure_product(dtype: torch.dtype) -> float:
    """10⁹ multiply-accumulates per second."""
    best = 0.0
    for side in MATRIX_SIDES:
        a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
        out = torch.empty(side, side, dtype=dtype)
        seconds = _best_seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out))
        best = max(best, side**3 / seconds / 1e9)
    return best


def _measure_copy() -> float:
    """10⁹ bytes per second, read and written."""
    source = torch.ones(COPY_BYTES, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return 2 * COPY_BYTES / _best_seconds(lambda: target.copy_(source)) / 1e9


def _best_seconds(call: Callable[[], object]) -> float:
    call()
    times: list[float] = []
    while len(times) < LEAST_CALLS or (len(times) < MOST_CALLS and sum(times) < MOST_SECONDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
