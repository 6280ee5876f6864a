"""Speed and memory of streaming, as ratios against the clip network in the same run.

    python scripts/bench.py --output docs/results

Measures, on this machine: the step of X3D-M against the X3D-M clip of the same weights
(interleaved, so that both see the same machine); the state against the formula of past frames;
memory over 10 000 frames; and how soon `co3d stream` gives its first prediction. Weights are
random: they change neither speed nor memory.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

import co3d
from co3d.models.x3d import Bottleneck

MODEL = "x3d_m"
ROUNDS = 12
STEPS_PER_ROUND = 10
MEMORY_FRAMES = 10_000


def main() -> None:
    """Measure everything and write bench.json and bench.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # First of all: a peak that another measurement had raised would hide growth.
    memory = measure_memory()
    result = {
        "command": "python scripts/bench.py",
        "hardware": describe_hardware(),
        "threads": args.threads,
        "torch": torch.__version__,
        "memory": memory,
        "step_against_clip": measure_step_against_clip(),
        "start": measure_start(),
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "bench.json").write_text(json.dumps(result, indent=2) + "\n")
    (args.output / "bench.md").write_text(format_markdown(result))
    print((args.output / "bench.md").read_text())


def describe_hardware() -> str:
    """Processor and number of cores."""
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def measure_step_against_clip() -> dict[str, float]:
    """Milliseconds per prediction of the step and of the clip, interleaved."""
    model = co3d.create_model(MODEL, weights="random")
    card = model.card
    start = time.perf_counter()
    program = co3d.convert(model, card.clip_shape)
    convert_seconds = time.perf_counter() - start
    stream = co3d.open_stream(program)
    clip = torch.randn(1, *card.clip_shape)
    frame = clip[:, :, 0].contiguous()
    for _ in track(range(program.masked_steps + 1), description="filling the window"):
        stream.step(frame)
    step_ms: list[float] = []
    clip_ms: list[float] = []
    with torch.inference_mode():
        model(clip)
        for _ in track(range(ROUNDS), description=f"{MODEL}, clip and step in turn"):
            clip_ms.append(time_ms(lambda: model(clip)))
            step_ms += [time_ms(lambda: stream.step(frame)) for _ in range(STEPS_PER_ROUND)]
    step, clip_median = statistics.median(step_ms), statistics.median(clip_ms)
    return {
        "step_ms_median": step,
        "step_ms_p95": statistics.quantiles(step_ms, n=20)[-1],
        "clip_ms_median": clip_median,
        "speedup": clip_median / step,
        "macs_per_frame": program.macs_per_frame,
        "clip_macs": program.clip_macs,
        "mac_ratio": program.clip_macs / program.macs_per_frame,
        "state_bytes": program.state_bytes,
        "state_bytes_by_formula": state_by_formula(model, clip, program.window or 1),
        "convert_seconds": convert_seconds,
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


def measure_start() -> dict[str, float]:
    """Seconds from the start of `co3d stream` on the sample to its first line, imports apart."""
    imports = "import torch, torch.export, co3d.models, co3d.stream, co3d.backends, co3d.video"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", imports], check=True)
    import_seconds = time.perf_counter() - start
    sample = Path(co3d.__file__).parent / "assets" / "sample.mp4"
    start = time.perf_counter()
    command = [sys.executable, "-m", "co3d", "stream", str(sample), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first_seconds = time.perf_counter() - start
        process.terminate()
        process.stdout.read()
    return {
        "import_seconds": import_seconds,
        "first_prediction_seconds": first_seconds,
        "first_prediction_seconds_after_imports": first_seconds - import_seconds,
    }


def time_ms(call: object) -> float:
    """Milliseconds that one call takes."""
    start = time.perf_counter()
    call()  # type: ignore[operator]
    return (time.perf_counter() - start) * 1e3


def format_markdown(result: dict) -> str:
    """The figures as a table."""
    speed, memory, start = result["step_against_clip"], result["memory"], result["start"]
    rows = [
        ("", "clip", "step", "ratio"),
        ("---", "---:", "---:", "---:"),
        (
            "ms per prediction (median)",
            f"{speed['clip_ms_median']:.0f}",
            f"{speed['step_ms_median']:.1f}",
            f"{speed['speedup']:.1f}",
        ),
        (
            "M MACs per prediction",
            f"{speed['clip_macs'] / 1e6:,.0f}",
            f"{speed['macs_per_frame'] / 1e6:,.0f}",
            f"{speed['mac_ratio']:.1f}",
        ),
    ]
    lines = [
        f"X3D-M (16 frames, 224 px), float32, batch 1, backend torch, {result['threads']} threads, "
        f"torch {result['torch']}, {result['hardware']}. Written by `{result['command']}`.",
        "",
        *["| " + " | ".join(row) + " |" for row in rows],
        "",
        f"- Step, 95th percentile: {speed['step_ms_p95']:.1f} ms. Conversion: "
        f"{speed['convert_seconds']:.1f} s.",
        f"- State: {speed['state_bytes'] / 1e6:.2f} MB per stream; by the formula: "
        f"{speed['state_bytes_by_formula'] / 1e6:.2f} MB.",
        "- Peak memory of the process: "
        f"{memory['peak_mib_after_1000_frames']:.0f} MiB after 1 000 frames, "
        f"{memory['peak_mib_after_10000_frames']:.0f} MiB after 10 000 (camera_motion).",
        "- `co3d stream` on the sample, start to first prediction: "
        f"{start['first_prediction_seconds']:.1f} s, of which imports "
        f"{start['import_seconds']:.1f} s.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
