"""The speed of matrix products and copies, as ceilings timed interleaved with the networks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from co3d.backends.table import PRECISIONS
from co3d.benchmark.device import wait_after
from co3d.benchmark.timing import MS_PER_SECOND, Latency, Subject

MULTIPLIED = ("float32", "bfloat16", "float16")
COPY = "copy"


@dataclass(frozen=True)
class Sizes:
    """Sizes that keep a device busy.

    Attributes:
        matrix_sides: of square matrices, the smaller first. copy_bytes: of a copy.
    """

    matrix_sides: tuple[int, int]
    copy_bytes: int


CPU_SIZES = Sizes((1024, 2048), 256 * 2**20)
GPU_SIZES = Sizes((4096, 8192), 2**30)


@dataclass(frozen=True)
class Ceilings:
    """What the device reaches, by median times; on the CPU with torch's number of threads.

    Attributes:
        gmacs_per_second: precision -> 10⁹ multiply-accumulates per second of a square matrix
            product, of the size that is faster.
        p99_ratio: precision -> the 99th percentile of the smaller product's latency divided by its
            median: near 1 on a quiet machine. Networks are hardly steadier.
        copy_gb_per_second: 10⁹ bytes per second, read and written, of a copy in memory.
    """

    gmacs_per_second: dict[str, float]
    p99_ratio: dict[str, float]
    copy_gb_per_second: float

    def product_ms(self, macs: float, precision: str) -> float | None:
        """Milliseconds of a matrix product with this many MACs; None if the precision has none."""
        ceiling = self.gmacs_per_second.get(precision)
        return None if ceiling is None else macs / ceiling / 1e6

    def copy_ms(self, read_bytes: float) -> float:
        """Milliseconds to read this many bytes at the speed of a copy."""
        return read_bytes / self.copy_gb_per_second / 1e6


def open_ceilings(
    precisions: Iterable[str], samples: int, device: torch.device
) -> dict[str, Subject]:
    """Matrix products in the precisions that have a ceiling, and a copy, to be timed.

    They are interleaved with the networks that are compared with them, because a processor's speed
    changes from minute to minute.
    """
    wanted, sizes = set(precisions), _sizes(device)
    calls = {
        _name(precision, side): _open_product(side, PRECISIONS[precision], device)
        for precision in MULTIPLIED
        if precision in wanted
        for side in sizes.matrix_sides
    }
    source = torch.ones(sizes.copy_bytes, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    calls[COPY] = lambda: target.copy_(source)
    return {name: Subject(wait_after(call, device), samples) for name, call in calls.items()}


def read_ceilings(latencies: Mapping[str, Latency], device: torch.device) -> Ceilings:
    """The ceilings from the latencies of the subjects of `open_ceilings`.

    Args:
        latencies: of these subjects, by name; others are ignored.
        device: the one that they were opened for.
    """
    sizes = _sizes(device)
    smaller = sizes.matrix_sides[0]

    def rate(name: str, work: float) -> float:
        return work * MS_PER_SECOND / latencies[name].median_ms / 1e9

    products = {
        precision: max(rate(_name(precision, side), side**3) for side in sizes.matrix_sides)
        for precision in MULTIPLIED
        if _name(precision, smaller) in latencies
    }
    steady = {name: latencies[_name(name, smaller)] for name in products}
    ratios = {name: latency.p99_ms / latency.median_ms for name, latency in steady.items()}
    return Ceilings(products, ratios, rate(COPY, 2 * sizes.copy_bytes))


def _sizes(device: torch.device) -> Sizes:
    return CPU_SIZES if device.type == "cpu" else GPU_SIZES


def _name(precision: str, side: int) -> str:
    return f"{precision} product of {side}"


def _open_product(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty(side, side, dtype=dtype, device=device)
    return lambda: torch.mm(a, b, out=out)
