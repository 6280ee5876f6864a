"""What `co3d bench` does not measure: state against its formula, flat memory, start-up time.

    python scripts/bench_stream.py --output docs/results

Measures, on this machine: the state of X3D-M against the formula of past frames; memory over
10 000 frames; and how soon `co3d stream` gives its first prediction. Weights are random: they
change neither state nor memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import nn

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.models.x3d import Bottleneck
from co3d.weights.save import save_weights

MODEL = "x3d_m"
MEMORY_FRAMES = 10_000


def main() -> None:
    """Measure everything and write bench_stream.json and bench_stream.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # First of all: a peak that another measurement had raised would hide growth.
    memory = measure_memory()
    result = {
        "command": "python scripts/bench_stream.py",
        "hardware": describe_hardware(),
        "threads": args.threads,
        "torch": torch.__version__,
        "memory": memory,
        "state": measure_state(),
        "start": measure_start(),
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "bench_stream.json").write_text(json.dumps(result, indent=2) + "\n")
    (args.output / "bench_stream.md").write_text(format_markdown(result))
    print((args.output / "bench_stream.md").read_text())


def measure_state() -> dict[str, int]:
    """Bytes that one stream carries, by the program and by the formula."""
    model = co3d.create_model(MODEL, weights="random")
    program = co3d.convert(model, model.card.clip_shape)
    clip = torch.randn(1, *model.card.clip_shape)
    return {
        "state_bytes": program.state_bytes,
        "state_bytes_by_formula": state_by_formula(model, clip, program.window or 1),
    }


def state_by_formula(model: nn.Module, clip: torch.Tensor, window: int) -> int:
    """Sum of (kt - 1) past input frames per temporal convolution, one delayed frame per residual.

    Read off the network's modules, not off the program: a check from outside.
    """
    numbers = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal numbers
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
            x = inputs[0]
            past = (module.kernel_size[0] - 1) * module.dilation[0]
            numbers += past * x.shape[1] * x.shape[3] * x.shape[4]
        elif isinstance(module, Bottleneck):
            numbers += output.shape[1] * output.shape[3] * output.shape[4]

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    with torch.inference_mode():
        model(clip)
    for hook in hooks:
        hook.remove()
    pooled = model.get_submodule("head.expand").out_channels
    return 4 * (numbers + (window - 1) * pooled)


def measure_memory() -> dict[str, float]:
    """Peak resident memory after 1 000 and after 10 000 frames of the bundled model."""
    model = co3d.create_model("camera_motion")
    stream = co3d.open_stream(co3d.convert(model, model.card.clip_shape))
    frame = torch.randn(1, 3, model.card.crop_px, model.card.crop_px)
    peaks = {}
    for count in track(range(1, MEMORY_FRAMES + 1), description="memory over 10 000 frames"):
        stream.step(frame)
        if count in (1_000, MEMORY_FRAMES):
            peaks[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "peak_mib_after_1000_frames": peaks[1_000],
        "peak_mib_after_10000_frames": peaks[MEMORY_FRAMES],
    }


def measure_start() -> dict[str, Any]:
    """Seconds from the start of `co3d stream` on the sample to its first line, imports apart.

    The second start of each network counts: the first one fills the caches on disk.
    """
    imports = "import torch, torch.export, co3d.engine, co3d.video"
    subprocess.run([sys.executable, "-c", imports], check=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", imports], check=True)
    figures: dict[str, Any] = {"import_seconds": time.perf_counter() - start}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / f"{MODEL}.safetensors"
        save_weights(co3d.create_model(MODEL, weights="random"), weights)
        starts = {"camera_motion": [], MODEL: ["--model", MODEL, "--weights", str(weights)]}
        for name, options in starts.items():
            cold, cached = (time_first_line(options) for _ in range(2))
            figures[name] = {"first_start_seconds": cold, "cached_start_seconds": cached}
    return figures


def time_first_line(options: list[str]) -> float:
    """Seconds until `co3d stream` prints its first prediction."""
    sample = Path(co3d.__file__).parent / "assets" / "sample.mp4"
    command = [sys.executable, "-m", "co3d", "stream", str(sample), "--json", *options]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - start
        process.terminate()
        process.stdout.read()
    return seconds


def format_markdown(result: dict[str, Any]) -> str:
    """The figures as a list."""
    state, memory, start = result["state"], result["memory"], result["start"]
    lines = [
        f"{result['threads']} threads, torch {result['torch']}, {result['hardware']}. "
        f"Written by `{result['command']}`.",
        "",
        f"- State of X3D-M: {state['state_bytes'] / 1e6:.2f} MB per stream; by the formula: "
        f"{state['state_bytes_by_formula'] / 1e6:.2f} MB.",
        "- Peak memory of the process: "
        f"{memory['peak_mib_after_1000_frames']:.0f} MiB after 1 000 frames, "
        f"{memory['peak_mib_after_10000_frames']:.0f} MiB after 10 000 (camera_motion).",
        "- `co3d stream` on the sample, start to first prediction, after "
        f"{start['import_seconds']:.1f} s of imports (in brackets: where nothing is cached):",
        *[
            f"  - {name}: {start[name]['cached_start_seconds'] - start['import_seconds']:.1f} s "
            f"({start[name]['first_start_seconds'] - start['import_seconds']:.1f} s)."
            for name in ("camera_motion", MODEL)
        ],
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
