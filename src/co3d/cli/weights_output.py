"""The work and the output of the commands of `co3d weights`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from rich.text import Text

from co3d.console import Console, say
from co3d.errors import OptionError, WeightError
from co3d.models import create_model, get_card, list_models
from co3d.models.description import write_description
from co3d.models.labels import read_labels
from co3d.weights import (
    PublishedWeights,
    cache_path,
    check_file,
    fetch_weights,
    inspect_checkpoint,
    is_finite,
    list_weights,
    parse_full_tag,
    read_checkpoint,
    save_weights,
)

MEGA = 1e6
SHOWN_KEYS = 10


def print_list(*, as_json: bool) -> None:
    """Print the catalogue."""
    entries = [_describe(entry) for entry in list_weights()]
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    width = max(len(entry["weights"]) for entry in entries)
    for entry in entries:
        cached = "  in the cache" if entry["cached"] else ""
        say(f"{entry['weights']:<{width}}  {entry['classes']:>3} classes{cached}")
        for name, value in entry["accuracy"].items():
            say(f"    {value:g} % {name}")
        say(f"    {entry['file']}")


def print_info(tag: str, *, as_json: bool) -> None:
    """Print everything known about one entry of the catalogue.

    Raises:
        UnknownModelError: there is no entry of this name.
    """
    _print_fields(_describe(parse_full_tag(tag)), as_json=as_json)


def download_all(tags: list[str], *, as_json: bool) -> None:
    """Fetch published weights and print where they are.

    Raises:
        UnknownModelError: a name is not in the catalogue; then nothing is fetched.
        DownloadError: a file cannot be fetched; those before it are in the cache.
    """
    entries = [parse_full_tag(tag) for tag in tags]
    fetched = []
    for entry in entries:
        path = fetch_weights(entry)
        fetched.append(
            {"weights": entry.full_tag, "path": str(path), "size_bytes": path.stat().st_size}
        )
        if not as_json:
            say(f"{entry.full_tag}  {path}")
    if as_json:
        print(json.dumps(fetched, indent=2))


def verify_cache(*, as_json: bool) -> None:
    """Check every published file that is in the cache.

    Raises:
        WeightError: a file is damaged; raised after all are printed.
    """
    checks = [_verify(entry) for entry in list_weights()]
    if as_json:
        print(json.dumps(checks, indent=2))
    else:
        table = Table("weights", "state", "path", box=None)
        for check in checks:
            table.add_row(check["weights"], check["problem"] or check["state"], check["path"])
        Console().print(table)
    damaged = [check["weights"] for check in checks if check["state"] == "damaged"]
    if damaged:
        raise WeightError(
            f"{len(damaged)} files in the cache are damaged: {', '.join(damaged)}; remove them and "
            f"run `co3d weights download {' '.join(damaged)}`"
        )


def import_checkpoint(file: Path, model_name: str, output: Path, *, as_json: bool) -> None:
    """Load a checkpoint into a network and write it as safetensors.

    Raises:
        OptionError: the output is not named .safetensors.
        UnknownModelError: no such network.
        WeightError: the checkpoint cannot be read or does not fit.
        OutputError: the output cannot be written.
    """
    if output.suffix != ".safetensors":
        raise OptionError(f"cannot write {output}: expected a name that ends in .safetensors")
    model = create_model(model_name, weights=file)
    save_weights(model, output, write_description(model.card))
    fields = {
        "model": model_name,
        "output": str(output),
        "size_bytes": output.stat().st_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "labels": len(model.card.labels),
        "activation": model.card.activation,
    }
    _print_fields(fields, as_json=as_json)


def print_inspection(file: Path, *, as_json: bool) -> None:
    """Print what a checkpoint holds and which networks it fits.

    Raises:
        WeightError: the file cannot be read.
    """
    with torch.device("meta"):  # shapes without memory
        candidates = {
            name: (create_model(name, weights="random"), get_card(name).classifier)
            for name in list_models()
        }
    inspection = inspect_checkpoint(file, candidates)
    fields = dataclasses.asdict(inspection)
    if not as_json:
        tensors = list(inspection.tensors.items())
        rest = len(tensors) - SHOWN_KEYS
        shown = [f"{key} {tuple(shape)}" for key, shape in tensors[:SHOWN_KEYS]]
        fields["tensors"] = shown + ([f"and {rest} more"] if rest > 0 else [])
    _print_fields(fields, as_json=as_json)


def _describe(entry: PublishedWeights) -> dict[str, Any]:
    card, path = get_card(entry.model), cache_path(entry)
    return {
        "weights": entry.full_tag,
        "url": entry.url,
        "file": entry.file_name,
        "size_bytes": entry.size_bytes,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "accuracy": dict(entry.accuracy),
        "labels": entry.labels,
        "classes": len(read_labels(entry.labels)),
        "activation": entry.activation,
        "input": f"{card.clip_frames} frames at {card.rate_hz:g} Hz, {card.crop_px} px",
        "path": str(path),
        "cached": path.is_file(),
    }


def _verify(entry: PublishedWeights) -> dict[str, str]:
    path = cache_path(entry)
    state, problem = "ok", ""
    if not path.is_file():
        state = "absent"
    else:
        try:
            check_file(entry, path)
            _check_content(entry, path)
        except (ValueError, WeightError) as error:
            state, problem = "damaged", str(error)
    return {"weights": entry.full_tag, "state": state, "problem": problem, "path": str(path)}


def _check_content(entry: PublishedWeights, path: Path) -> None:
    create_model(entry.model, weights=path)
    tensors = read_checkpoint(path).tensors
    not_finite = [key for key, tensor in tensors.items() if not is_finite(tensor)]
    if not_finite:
        raise ValueError(f"NaN or infinite values in {', '.join(not_finite[:SHOWN_KEYS])}")


def _print_fields(fields: dict[str, Any], *, as_json: bool) -> None:
    """Print names and values, one a line, or as one JSON object."""
    if as_json:
        print(json.dumps(fields, indent=2))
        return
    table = Table(box=None, show_header=False)
    for name, value in fields.items():
        table.add_row(name.replace("_", " "), Text(_format(name, value)))
    Console().print(table)


def _format(name: str, value: Any) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if name == "size_bytes":
        return f"{value / MEGA:.1f} MB"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "\n".join(f"{item} {key}" for key, item in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
