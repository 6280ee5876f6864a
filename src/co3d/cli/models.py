"""`co3d models`: the registered networks."""

import json
from typing import Any

import torch

from co3d.console import say
from co3d.models import create_model, get_card, list_models
from co3d.weights import list_weights


def print_models(*, as_json: bool) -> None:
    """Print the registered networks, two lines each, or as a JSON list."""
    entries = [_describe(name) for name in list_models()]
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    width = max(len(entry["name"]) for entry in entries)
    for entry in entries:
        side = entry["crop_px"]
        clip = f"{entry['clip_frames']}x{side}x{side}"
        rate, parameters = f"{entry['rate_hz']:g} Hz", f"{entry['parameters'] / 1e6:.2f} M"
        weights = ", ".join((["bundled"] if entry["bundled"] else []) + entry["weights"])
        say(f"{entry['name']:<{width}}  {clip:<11} {rate:>7} {parameters:>8}  {weights}")
        say(f"    {entry['summary']}")


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
