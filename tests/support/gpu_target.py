"""Compiles the kernels of a step program for a GPU that is not there; prints what was compiled.

    python tests/support/gpu_target.py bfloat16 1 8

Triton compiles for a named kind of GPU, and needs none for that. It must not interpret kernels, so
this runs in a process of its own. PyTorch's operators run on the CPU, between kernels that do not.
"""

import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor, nn
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from co3d.backends.table import PRECISIONS
from co3d.compiler import convert

HOPPER = GPUTarget("cuda", 90, 32)


class AbsentGpu:
    """What Triton asks of a driver before it compiles."""

    def get_current_target(self) -> GPUTarget:
        return HOPPER

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


class EveryKernel(nn.Module):
    """A network whose steps launch each of our kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.dense = nn.Conv3d(8, 24, (3, 1, 1), padding=(1, 0, 0))
        self.depthwise = nn.Conv3d(24, 24, 3, padding=1, groups=24)
        self.squeeze, self.expand = nn.Conv3d(24, 8, 1), nn.Conv3d(8, 24, 1)
        self.project = nn.Conv3d(24, 24, 1)
        self.last = nn.Conv3d(24, 24, (1, 3, 3), padding=(0, 1, 1), groups=24)
        self.classify = nn.Linear(24, 5)

    def forward(self, clip: Tensor) -> Tensor:
        first = F.relu(self.dense(self.stem(clip)))
        made = self.depthwise(first)
        gate = torch.sigmoid(self.expand(F.relu(self.squeeze(made.mean((3, 4), keepdim=True)))))
        made = self.last(first + self.project(F.silu(made * gate)))
        return self.classify(made.mean((2, 3, 4)))


def main() -> None:
    precision, *sizes = sys.argv[1:]
    driver.set_active(AbsentGpu())  # type: ignore[arg-type]
    from co3d.backends.triton_gpu import launches
    from co3d.backends.triton_gpu.executor import TritonExecutor

    launched: list[tuple[str, Any]] = []

    def compile_only(self: Any, kernel: Any, grid: Any, *args: Any, **constants: Any) -> None:
        launched.append((kernel.fn.__name__, kernel.warmup(*args, grid=grid, **constants)))

    launches.Launcher._launch = compile_only  # type: ignore[method-assign]
    program = convert(EveryKernel(), (3, 4, 16, 16), edges="both")
    executor = TritonExecutor(PRECISIONS[precision], torch.device("cpu"))
    executable: Any = executor.load(program)
    with executable._on_device():
        for size in map(int, sizes):
            for phase, is_masked in executable._graphs:
                executable._compiled.discard((phase, is_masked, size))
                executable._prepare(phase, is_masked, size)
    compiled: dict[str, set[str]] = {}
    for name, kernel in launched:
        assert f".target sm_{HOPPER.arch}" in kernel.asm["ptx"]
        assert kernel.asm["cubin"]
        compiled.setdefault(name, set()).add(kernel.hash)
    print(json.dumps({name: len(hashes) for name, hashes in compiled.items()}))


if __name__ == "__main__":
    assert not triton.knobs.runtime.interpret
    main()
