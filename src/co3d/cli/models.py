"""`co3d models`: the registered networks."""

import json
from typing import Any

import torch
from rich.table import Table

from co3d.console import Console
from co3d.models import create_model, get_card, list_models
from co3d.weights import list_weights


def print_models(*, as_json: bool) -> None:
    """Print the registered networks, as a table or as a JSON list."""
    entries = [_describe(name) for name in list_models()]
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    table = Table(box=None)
    for heading in ("model", "clip", "rate", "parameters"):
        table.add_column(heading, no_wrap=True)
    table.add_column("weights")
    table.add_column("summary")
    for entry in entries:
        side = entry["crop_px"]
        table.add_row(
            entry["name"],
            f"{entry['clip_frames']}x{side}x{side}",
            f"{entry['rate_hz']:g} Hz",
            f"{entry['parameters'] / 1e6:.2f} M",
            ", ".join((["bundled"] if entry["bundled"] else []) + entry["weights"]),
            entry["summary"],
        )
    Console().print(table)


def _describe(name: str) -> dict[str, Any]:
    card = get_card(name)
    with torch.device("meta"):  # shapes without memory
        model = create_model(name, weights="random")
    return {
        "name": name,
        "clip_frames": card.clip_frames,
        "crop_px": card.crop_px,
        "rate_hz": card.rate_hz,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bundled": bool(card.bundled_weights),
        "weights": [entry.tag for entry in list_weights(name)],
        "summary": card.summary,
        "paper": card.paper,
    }
