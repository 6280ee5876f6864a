"""Trained networks as folders: `model.safetensors`, and `card.json` with how to feed it."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from co3d.errors import WeightError
from co3d.files import read_small
from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.description import write_description
from co3d.printable import short_repr
from co3d.weights.save import save_weights, write_whole

WEIGHTS, CARD = "model.safetensors", "card.json"
MAX_BYTES = 1 << 20
_COUNTS = ("clip_frames", "crop_px", "short_side_px")
_MOST, _LARGEST = 1 << 16, 1e9
_FILE_NETWORK = re.compile(r"[\w./-]{1,200}\.py:\w{1,100}")
# The fields of a card that are saved. The others describe the published network, and do not hold
# after training.
_FIELDS = ("name", *_COUNTS, "rate_hz", "mean", "std", "resize_px", "antialias")


def is_saved_model(name: str | Path) -> bool:
    """Whether a model's name is the folder of a trained network."""
    return (Path(name) / CARD).is_file()


def save_model(model: ClipModel, folder: Path) -> None:
    """Write a network and its card into a folder for `create_model` and `co3d stream`.

    Raises:
        OutputError: a file cannot be written.
    """
    save_weights(model, folder / WEIGHTS, write_description(model.card))
    values = {field: getattr(model.card, field) for field in _FIELDS}
    write_whole(folder / CARD, (json.dumps(values, indent=2) + "\n").encode())


def read_saved_card(folder: Path, registered: dict[str, ModelCard]) -> ModelCard:
    """The card of a trained network: the registered network's, with the trained input format.

    Raises:
        WeightError: the file is broken, or the network is not registered: a user's file builds it.
    """
    path = folder / CARD
    try:
        values = json.loads(read_small(path, MAX_BYTES))
        _check(values)
        card = registered.get(values["name"])
        if card is not None:
            return _make_card(card, values)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightError(f"cannot read the card {path}: {error}; train or copy it anew") from error
    # No file is run because a folder says so: it may be anybody's.
    way = "register it under this name, or train it anew"
    if _FILE_NETWORK.fullmatch(values["name"]):
        way = f"if you trust that file, give --model {values['name']} --weights {folder / WEIGHTS}"
    raise WeightError(
        f"cannot open {folder}: got the network {short_repr(values['name'])}, expected a "
        f"registered one; {way}"
    )


def _make_card(card: ModelCard, values: dict[str, Any]) -> ModelCard:
    fed = {key: value for key, value in values.items() if key != "name"}
    return dataclasses.replace(card, **fed, published_accuracy={}, bundled_weights="")


def _check(values: Any) -> None:
    if not isinstance(values, dict) or set(values) != set(_FIELDS):
        raise ValueError(f"expected an object with the keys {', '.join(_FIELDS)}")
    if not isinstance(values["name"], str):
        raise ValueError(f"name is {short_repr(values['name'])}")
    sizes = values["resize_px"]
    rules = {
        **{key: _is_count(values[key]) for key in _COUNTS},
        "rate_hz": _is_positive(values["rate_hz"]),
        "mean": _is_triple(values["mean"]),
        "std": _is_triple(values["std"]) and all(value > 0 for value in values["std"]),
        "resize_px": sizes is None
        or (isinstance(sizes, list) and len(sizes) == 2 and all(map(_is_count, sizes))),
        "antialias": isinstance(values["antialias"], bool),
    }
    for key, is_right in rules.items():
        if not is_right:
            raise ValueError(f"{key} is {short_repr(values[key])}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MOST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _LARGEST


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_triple(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) == 3
    return is_list and all(map(_is_number, value))
