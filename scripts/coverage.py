"""What becomes of every family of the zoo on a stream: exact, approximated or by fallback.

    python scripts/coverage.py

Writes docs/coverage.md and docs/results/coverage.json. The networks are those of tests/zoo: small,
with random weights.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import track

import co3d
from co3d.benchmark.machine import describe_hardware

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from zoo.check import convert_family  # noqa: E402
from zoo.family import Family  # noqa: E402
from zoo.registry import FAMILIES  # noqa: E402
from zoo.streams import make_network  # noqa: E402

WARM_RUNS, TIMED_RUNS = 3, 15
COLUMNS = (
    "family",
    "paper",
    "clip",
    "on a stream",
    "stride",
    "delay",
    "k MACs per clip",
    "k MACs per frame",
    "fewer MACs",
    "rerun",
    "sliding",
    "clip ms",
    "step ms",
    "faster",
)
KINDS = {
    "exact": "equal to the clip network, to rounding",
    "approximated": "equal to the clip network after the rewrites that are listed",
    "fallback": "with `fallback=True`: a part is rerun on the newest clip at every step",
}


def main() -> None:
    """Convert and time everything, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(family) for family in track(FAMILIES, "converting")]
    data = args.output / "results" / "coverage.json"
    data.write_text(json.dumps({"hardware": describe_hardware(), "rows": rows}, indent=2) + "\n")
    (args.output / "coverage.md").write_text(format_page(rows, describe_hardware()))


def measure(family: Family) -> dict:
    """The row of one family, at dense rate."""
    model = make_network(family).float()
    program = convert_family(family, model)
    clips = [torch.randn(1, *shape) for shape in family.clips]
    frames = [clip[:, :, 0] for clip in clips]
    with co3d.open_stream(program, backend="torch", precision="float32") as stream:
        given = frames if len(frames) > 1 else frames[0]
        for _ in range(program.masked_steps):
            stream.step(given)
        clip_ms, step_ms = time_in_turn(lambda: model(*clips), lambda: stream.step(given))
    return {
        "family": family.name,
        "paper": family.paper,
        "clip": family.clips,
        "kind": family.kind,
        "approximations": sorted({line.split(": ", 1)[1] for line in program.approximations}),
        "stride": program.temporal_stride,
        "delay": program.delay,
        "clip_macs": program.clip_macs,
        "macs_per_frame": program.macs_per_frame,
        "recomputed_macs": program.recomputed_macs,
        "sliding_macs_per_frame": count_sliding(family, model),
        "clip_ms": clip_ms,
        "step_ms": step_ms,
    }


def count_sliding(family: Family, model: torch.nn.Module) -> int | None:
    """MACs per frame with scope="window", of families that convert with it."""
    if not family.windowed:
        return None
    return co3d.convert(model, family.clip, scope="window").macs_per_frame


def time_in_turn(*functions: Callable[[], object]) -> list[float]:
    """Median milliseconds of each, measured interleaved."""
    times: list[list[float]] = [[] for _ in functions]
    with torch.inference_mode():
        for run in range(WARM_RUNS + TIMED_RUNS):
            for function, taken in zip(functions, times, strict=True):
                start = time.perf_counter()
                function()
                if run >= WARM_RUNS:
                    taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def format_page(rows: list[dict], hardware: str) -> str:
    """The page: how many of each kind, what the columns mean, the table."""
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in KINDS}
    lines = [
        "# Which networks run as streams",
        "",
        f"{len(rows)} families of networks, each a small one of its kind in `tests/zoo`, written "
        "as in public code. `tests/zoo/test_families.py` compares the steps of each with "
        "its clips in double precision, dense and, where it has strides, native.",
        "",
        "| on a stream | families | what that means |",
        "|---|---:|---|",
        *(f"| {kind} | {counts[kind]} | {meaning} |" for kind, meaning in KINDS.items()),
        "",
        "Delay and stride are in frames; MACs are multiply-accumulates at dense rate (a result at "
        "every frame), compared with a clip at every frame; *rerun* is the share of them that a "
        "fallback spends on past frames; *sliding* is how many times fewer MACs a frame costs with "
        '`scope="window"`, an approximation over the newest frames. '
        "Times are medians of the eager torch backend and of the clip "
        f"network on one thread, measured alternately in one run ({hardware}). The networks are so "
        "small that calling operators takes most of a step; with networks of full size, times "
        "follow the MACs ([results](results/bench.md)). "
        "Written by `python scripts/coverage.py`.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---|---|---|---" + "|---:" * (len(COLUMNS) - 4) + "|",
        *(format_row(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def format_row(row: dict) -> str:
    """One family as a line of Markdown."""
    how = row["kind"]
    if row["approximations"]:
        how += ": " + "; ".join(row["approximations"])
    sliding = row["sliding_macs_per_frame"]
    share = row["recomputed_macs"] / max(1, row["macs_per_frame"])
    cells = (
        row["family"],
        format_paper(row["paper"]),
        " and ".join("x".join(map(str, shape)) for shape in row["clip"]),
        how,
        str(row["stride"]),
        str(row["delay"]),
        f"{row['clip_macs'] / 1e3:.0f}",
        f"{row['macs_per_frame'] / 1e3:.0f}",
        f"{row['clip_macs'] / max(1, row['macs_per_frame']):.1f}x",
        f"{100 * share:.0f} %" if row["kind"] == "fallback" else "",
        f"{row['clip_macs'] / sliding:.1f}x" if sliding else "",
        f"{row['clip_ms']:.2f}",
        f"{row['step_ms']:.2f}",
        f"{row['clip_ms'] / row['step_ms']:.1f}x",
    )
    return "| " + " | ".join(cells) + " |"


def format_paper(paper: str) -> str:
    """A link where it is an arXiv number."""
    is_number = paper.replace(".", "").isdigit()
    return f"[{paper}](https://arxiv.org/abs/{paper})" if is_number else paper


if __name__ == "__main__":
    main()
