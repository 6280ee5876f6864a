"""A step of MoViNet's stream networks and of X3D-S in one run: published accuracy, work, time.

    python scripts/compare_movinet.py --output docs/results

Networks step in turn, round after round, each on one thread; the time is that of the processor, so
that other programs disturb it little. Weights are random: they change no speed.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.runtime import compile as compile_program
from co3d.weights import list_weights

NETWORKS = ("x3d_s", "movinet_a0_stream", "movinet_a1_stream", "movinet_a2_stream")
WARM_STEPS, STEPS_A_ROUND = 4, 4
COLUMNS = (
    *("network", "published with these weights", "frame", "G MACs a step", "M parameters"),
    *("state MB", "CPU-ms a step, median", "least"),
)


def main() -> None:
    """Measure everything and write movinet.json and movinet.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--backend", default="native")
    given = parser.parse_args()
    torch.set_num_threads(1)
    streams = {name: open_stream(name, given.backend) for name in NETWORKS}
    times: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(given.rounds):
        for name, (step, _) in streams.items():
            started = time.process_time()
            for _ in range(STEPS_A_ROUND):
                step()
            times[name].append(1e3 * (time.process_time() - started) / STEPS_A_ROUND)
    result = {
        "command": f"python scripts/compare_movinet.py --backend {given.backend}",
        "hardware": describe_hardware(),
        "torch": torch.__version__,
        "networks": [
            {
                **described,
                "median_cpu_ms": statistics.median(times[name]),
                "least_cpu_ms": min(times[name]),
            }
            for name, (_, described) in streams.items()
        ],
    }
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "movinet.json").write_text(json.dumps(result, indent=2) + "\n")
    (given.output / "movinet.md").write_text(format_markdown(result))
    print(format_markdown(result))


def open_stream(name: str, backend: str) -> tuple[Any, dict[str, Any]]:
    """A function that steps a network on noise, and what is known of the network."""
    model = co3d.create_model(name, weights="random")
    shape = model.card.clip_shape
    program = co3d.convert(model, shape)
    compiled = compile_program(program, backend=backend, precision="float32")
    slots, frame = [compiled.open()], torch.randn(1, shape[0], *shape[2:])

    def step() -> None:
        compiled.step(slots, frame)

    for _ in range(WARM_STEPS):
        step()
    entry = list_weights(name)[0]
    return step, {
        "network": name,
        "published": {figure.name: figure.percent for figure in entry.figures},
        "source": entry.url,
        "size_px": shape[2],
        "macs_per_step": program.macs_per_frame,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "state_bytes": program.state_bytes,
    }


def format_markdown(result: dict[str, Any]) -> str:
    """The table, and what it cannot tell."""
    rows = [
        (
            f"{one['network']}",
            "; ".join(f"{name}: {percent} %" for name, percent in one["published"].items()),
            f"{one['size_px']} px",
            f"{one['macs_per_step'] / 1e9:.3f}",
            f"{one['parameters'] / 1e6:.2f}",
            f"{one['state_bytes'] / 1e6:.2f}",
            f"{one['median_cpu_ms']:.1f}",
            f"{one['least_cpu_ms']:.1f}",
        )
        for one in result["networks"]
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, ("---",) * len(COLUMNS), *rows)]
    sources = [f"- {one['network']}: {one['source']}" for one in result["networks"]]
    return "\n".join(
        [
            f"A step is one frame, float32, one thread, {result['hardware']}, torch "
            f"{result['torch']}. Written by `{result['command']}`.",
            "",
            *lines,
            "",
            "Accuracies are those that the publishers of the weights state; they were not measured "
            "here. X3D-S is judged on Kinetics-400 and MoViNet on Kinetics-600, so that the "
            "figures do not compare the networks.",
            "",
            *sources,
            "",
        ]
    )


if __name__ == "__main__":
    main()
