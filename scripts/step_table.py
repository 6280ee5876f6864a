"""What every registered network becomes as a step program: one row per network and window.

    python scripts/step_table.py --output docs/results

Names of networks make their rows anew and keep the others that the output has.

Weights are random; none of these figures depends on them.
"""

import argparse
import json
from pathlib import Path

from rich.progress import track

import co3d

LONG_WINDOW = 64
COLUMNS = (
    "model",
    "frame",
    "window",
    "receptive field",
    "delay",
    "temporal stride",
    "state MB",
    "G MACs per frame",
    "G MACs per clip",
    "M parameters",
)
# Published test crops where the paper reports them; the model card's crop elsewhere.
SIDES_PX = {"slow_r50": 256}


def main() -> None:
    """Convert everything, write step_programs.json and step_programs.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("names", nargs="*", help="networks; all by default")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "step_programs.json"
    kept = json.loads(path.read_text()) if args.names else []
    rows = [row for row in kept if row["model"] not in args.names]
    for name in track(args.names or co3d.list_models(), "converting"):
        rows += measure(name)
        rows.sort(key=lambda row: row["model"])  # stable: the network's own window stays first
        path.write_text(json.dumps(rows, indent=2) + "\n")
        path.with_suffix(".md").write_text(format_table(rows))
    print(format_table(rows))


def measure(name: str) -> list[dict]:
    """The rows of one network: its own window and a long one."""
    model = co3d.create_model(name, weights="random")
    channels, frames, side, _ = model.card.clip_shape
    side = SIDES_PX.get(name, side)
    rows = []
    windows = [None, LONG_WINDOW]
    for window in windows:
        program = co3d.convert(model, (channels, frames, side, side), window=window)
        if program.window is None:  # it averages all frames so far
            windows.remove(LONG_WINDOW)
        rows.append(
            {
                "model": name,
                "frame_px": side,
                "window": program.window,
                "receptive_field": program.receptive_field,
                "delay": program.delay,
                "temporal_stride": program.temporal_stride,
                "state_bytes": program.state_bytes,
                "macs_per_frame": program.macs_per_frame,
                "clip_macs": program.clip_macs,
                "parameters": sum(p.numel() for p in model.parameters()),
                "approximations": list(program.approximations),
            }
        )
    return rows


def format_table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [
        "Every registered network as a step program: a result at every frame (dense rate), "
        "float32 state. Delay and receptive field are in frames; "
        '"all" are those from the stream\'s first one on. '
        "Written by `python scripts/step_table.py`.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" + "|---:" * (len(COLUMNS) - 1) + "|",
    ]
    for row in rows:
        cells = (
            row["model"],
            f"{row['frame_px']} px",
            "all" if row["window"] is None else str(row["window"]),
            "all" if row["receptive_field"] is None else str(row["receptive_field"]),
            str(row["delay"]),
            str(row["temporal_stride"]),
            f"{row['state_bytes'] / 1e6:.2f}",
            f"{row['macs_per_frame'] / 1e9:.3f}",
            f"{row['clip_macs'] / 1e9:.2f}",
            f"{row['parameters'] / 1e6:.2f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
