"""The description in an exported file: JSON under the key `co3d` of its metadata.

It has all that a caller in any language needs besides the graph: which inputs and outputs are
frames, clocks, results and state, how to prepare a picture, what the results mean, and which frame
they describe. docs/export.md describes it field by field.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from co3d.compiler.program import Program
from co3d.compiler.temporal import StateSpec, TemporalType
from co3d.errors import ExportedFileError
from co3d.export.structure import read_structure, write_structure
from co3d.models.card import ModelCard
from co3d.printable import short_repr

KEY = "co3d"
VERSION = 3
# Larger numbers of frames in a description are refused.
MOST_FRAMES = 10**6
# The clock inputs of a graph, by `edges`.
CLOCKS = {"none": (), "start": ("age",), "both": ("age", "end")}
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float32, torch.float64, torch.bfloat16, torch.float16),
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
}
T = TypeVar("T")


def name_inputs(program: Program[Any]) -> list[str]:
    """Names of a file's inputs: frames, clocks, then every state's elements, newest first."""
    past = [f"state.{s.name}.{back + 1}" for s in program.states for back in range(s.depth)]
    return [*_number("frame", len(program.frame_shapes)), *CLOCKS[program.edges], *past]


def name_outputs(program: Program[Any]) -> list[str]:
    """Names of a file's outputs: results, then every state's newest element."""
    newest = [f"new_state.{spec.name}" for spec in program.states]
    return [*_number("output", len(program.output_shapes)), *newest]


def describe(
    program: Program[Any], card: ModelCard | None, *, slots: int | None, precision: str
) -> str:
    """Write the description of a program.

    Args:
        program: the program in the file.
        card: how to prepare pictures; None if it is not known.
        slots: the fixed number of videos that step together; None for any number.
        precision: of weights and state.

    Raises:
        ExportError: the results' structure is not made of tuples, lists and dicts.
    """
    states = [
        {
            "name": spec.name,
            "inputs": [f"state.{spec.name}.{back + 1}" for back in range(spec.depth)],
            "output": f"new_state.{spec.name}",
            "shape": list(spec.shape),
            "dtype": _name_dtype(spec.dtype),
            "fill": repr(spec.fill),
        }
        for spec in program.states
    ]
    fields = {
        "version": VERSION,
        "name": program.name,
        "fingerprint": program.fingerprint,
        "precision": precision,
        "slots": slots,
        "graph_slots": program.graph_slots,
        "frames": _number("frame", len(program.frame_shapes)),
        "frame_shapes": program.frame_shapes,
        "clocks": CLOCKS[program.edges],
        "outputs": _number("output", len(program.output_shapes)),
        "output_shapes": program.output_shapes,
        "output_structure": write_structure(program.output_spec),
        "states": states,
        "dtype": _name_dtype(program.dtype),
        "rate": program.rate,
        "edges": program.edges,
        "window": program.window,
        "delay": program.delay,
        "receptive_field": program.receptive_field,
        "temporal_stride": program.temporal_stride,
        "first_valid_step": program.first_valid_step,
        "masked_steps": program.masked_steps,
        "timing": dataclasses.asdict(program.timing),
        "macs_per_frame": program.macs_per_frame,
        "clip_macs": program.clip_macs,
        "card": None if card is None else dataclasses.asdict(card),
    }
    return json.dumps(fields)


@dataclasses.dataclass(frozen=True)
class Description:
    """A description that was read and checked.

    Attributes:
        fields: the fields of `Program`, without its phases.
        card: how to prepare pictures; None if the file has no card.
        slots, precision, fingerprint: see `describe`.
    """

    fields: dict[str, Any]
    card: ModelCard | None
    slots: int | None
    precision: str
    fingerprint: str


def read_description(text: str, origin: str) -> Description:
    """Read and check a description that `describe` wrote.

    Args:
        text: JSON.
        origin: the file, for messages.

    Raises:
        ExportedFileError: it is something else, or a part is missing or has another type.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _complain(origin, f"its description is not JSON ({str(error)[:300]})") from error
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        version = raw.get("version") if isinstance(raw, dict) else None
        raise _complain(origin, f"got version {short_repr(version)}, expected {VERSION}")
    try:
        return _parse(raw)
    # Any part of an untrusted file may have any type.
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _complain(
            origin, f"its description is broken ({type(error).__name__}: {str(error)[:300]})"
        ) from error


def _parse(raw: dict[str, Any]) -> Description:
    timing = raw["timing"]
    output_shapes = _shapes(raw["output_shapes"])
    fields = {
        "name": _is(str, raw["name"]),
        "frame_shapes": _shapes(raw["frame_shapes"]),
        "output_shapes": output_shapes,
        "output_spec": read_structure(raw["output_structure"], len(output_shapes)),
        "dtype": _DTYPES[raw["dtype"]],
        "timing": TemporalType(
            axis=_maybe(_count, timing["axis"]),
            stride=_size(timing["stride"]),
            delay=_frames(timing["delay"]),
            lookback=_frames(timing["lookback"]),
            extent=_signed_frames(timing["extent"]),
            pools=tuple(_is(str, name) for name in timing["pools"]),
            recomputed=_is(bool, timing["recomputed"]),
            # Files of earlier versions lack the three fields below.
            block=_size(timing.get("block", 1)),
            overhang=_frames(timing.get("overhang", 0)),
            unbounded=_is(bool, timing.get("unbounded", False)),
        ),
        "window": _maybe(_frames, raw["window"]),
        "rate": _one_of(("dense", "native"), raw["rate"]),
        "edges": _one_of(tuple(CLOCKS), raw["edges"]),
        "states": tuple(_parse_state(state) for state in raw["states"]),
        "masked_steps": _frames(raw["masked_steps"]),
        "macs_per_frame": _count(raw["macs_per_frame"]),
        "clip_macs": _count(raw["clip_macs"]),
        # Files of earlier versions lack it.
        "graph_slots": _one_of((None, 1), raw.get("graph_slots")),
    }
    return Description(
        fields,
        _maybe(_parse_card, raw["card"]),
        _maybe(_size, raw["slots"]),
        _is(str, raw["precision"]),
        _is(str, raw["fingerprint"]),
    )


def _parse_state(raw: dict[str, Any]) -> StateSpec:
    dtype = _DTYPES[raw["dtype"]]
    text = _is(str, raw["fill"])
    if dtype == torch.bool:
        fill = {"True": True, "False": False}[text]
    else:
        fill = float(text) if dtype.is_floating_point else int(text)
    (shape,) = _shapes([raw["shape"]])
    return StateSpec(_is(str, raw["name"]), shape, len(raw["inputs"]), fill, dtype)


def _parse_card(raw: dict[str, Any]) -> ModelCard:
    card = ModelCard(**raw)  # its constructor checks types
    for value in (card.clip_frames, card.crop_px, card.short_side_px, *(card.resize_px or ())):
        _size(value)
    return card


def _number(word: str, count: int) -> list[str]:
    """The word itself for one, or numbered names for several."""
    return [word] if count == 1 else [f"{word}{i}" for i in range(count)]


def _name_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shapes(raw: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(_size(size) for size in shape) for shape in raw)


def _is(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"got {value!r}, expected {kind.__name__}")
    return value


def _count(value: Any) -> int:
    if _is(int, value) < 0:
        raise ValueError(f"got {value}, expected 0 or more")
    return value


def _frames(value: Any) -> int:
    if _count(value) > MOST_FRAMES:
        raise ValueError(f"got {value} frames, expected {MOST_FRAMES} at most")
    return value


def _signed_frames(value: Any) -> int:
    _frames(abs(_is(int, value)))
    return value


def _size(value: Any) -> int:
    if _frames(value) == 0:
        raise ValueError("got 0, expected 1 or more")
    return value


def _one_of(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"got {value!r}, expected {' or '.join(map(str, allowed))}")
    return value


def _maybe(parse: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else parse(value)


def _complain(origin: str, what: str) -> ExportedFileError:
    return ExportedFileError(
        f"cannot read {origin}: {what}; write the file with `co3d export`, of this version of co3d"
    )
