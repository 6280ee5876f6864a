"""Peak memory of one variant of a network, measured in a process of its own."""

import dataclasses
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from co3d.benchmark.engines import open_clip, open_step
from co3d.benchmark.peers.select import PEERS
from co3d.benchmark.selection import EAGER, Variant
from co3d.compiler import convert
from co3d.compiler.program import Rate
from co3d.errors import Co3dError
from co3d.models import create_model

CALLS = 5
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class AloneTask:
    """A variant to run in a process of its own.

    Attributes:
        model: registry name.
        variant: of the network.
        rate: "dense" or "native". size_px: side of the square frames. threads: for torch.
        window: feature frames that the last pool of a peer averages.
        device: torch device that it runs on.
    """

    model: str
    variant: Variant
    rate: Rate
    size_px: int
    threads: int
    window: int
    device: str


def measure_peak_bytes(task: AloneTask) -> int:
    """The peak memory in bytes of a process that only does this, including its start.

    For co3d's step that includes conversion and compilation. On a CUDA device it is PyTorch's peak
    allocation, without the driver's own memory.

    Raises:
        Co3dError: that process failed; its own message is printed before this one.
    """
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(task))]
    # This interpreter, this module, and no shell.
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603
    if done.returncode:
        raise Co3dError(
            f"cannot measure memory: the process that ran {task.model} alone ended with "
            f"{done.returncode} (its message is above); leave --memory out"
        )
    return int(done.stdout.split()[-1])


def run_alone(task: AloneTask) -> int:
    """Run the task in this process; returns its peak memory in bytes."""
    torch.set_num_threads(task.threads)
    device = torch.device(task.device)
    run = _open(task, device)
    with torch.inference_mode():
        for _ in range(CALLS):
            run()
    return _peak_bytes(device)


def _open(task: AloneTask, device: torch.device) -> Callable[[], object]:
    """The function to run. Eager clips and peers need no conversion."""
    variant, model = task.variant, create_model(task.model, weights="random")
    channels, clip_frames, _, _ = model.card.clip_shape
    clip_shape = (channels, clip_frames, task.size_px, task.size_px)

    def draw() -> Tensor:
        times = (clip_frames,) if variant.what == "clip" else ()
        shape = (channels, *times, task.size_px, task.size_px)
        return torch.randn(variant.batch, *shape, device=device)

    if variant.peer is not None:
        peer = PEERS[variant.peer].open(model.to(device), task.size_px, task.window)
        return partial(peer.run, draw())
    engine = variant.backend, variant.precision
    if variant.what == "clip" and engine == EAGER:
        return partial(model.to(device), draw())
    program = convert(model, clip_shape, rate=task.rate)
    if variant.what == "clip":
        return open_clip(program, draw(), *engine)[0]
    return partial(open_step(program, *engine, variant.batch, device).step, draw())


def _peak_bytes(device: torch.device) -> int:
    """Peak memory of this process on a CUDA device, or in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():
        # Linux's `ru_maxrss` would include the parent's memory.
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Run the task that the command line holds as JSON, and print its peak."""
    fields = json.loads(sys.argv[1])
    print(run_alone(AloneTask(**{**fields, "variant": Variant(**fields["variant"])})))


if __name__ == "__main__":
    main()
