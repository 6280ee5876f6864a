"""What one run of `co3d stream` is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Policy = Literal["latest", "every"]
Rate = Literal["dense", "native"]
Scope = Literal["frame", "window"]


@dataclass(frozen=True)
class StreamOptions:
    """The options of `co3d stream`, as the command line gives them.

    Attributes:
        source: file, camera number, URL or folder of frames.
        model: registry name. weights: tag or path. window: feature frames averaged.
        top_k: labels shown.
        output: annotated video. timeline: picture. as_json: one JSON object a line.
        policy: what a live source does when the network is slower. rate_hz: overrides the model's.
        threads: processor threads for the network.
        backend, precision: as for `co3d.open_stream`.
    """

    source: str
    model: str
    weights: str | None
    window: int | None
    top_k: int | None
    output: Path | None
    timeline: Path | None
    as_json: bool
    policy: Policy
    rate_hz: float | None
    threads: int | None
    backend: str
    precision: str


@dataclass(frozen=True)
class ConversionOptions:
    """A network and how to convert it, as the command line gives them.

    Attributes:
        network: a registry name, or file.py:factory.
        weights: a tag or a checkpoint file.
        clips: "C,T,H,W", one per input; none for the model's own.
        window, rate, scope, fallback, spread: as for `co3d.convert`.
    """

    network: str
    weights: str | None
    clips: tuple[str, ...]
    window: int | None
    rate: Rate
    scope: Scope
    fallback: bool
    spread: bool


@dataclass(frozen=True)
class CheckOptions:
    """What `co3d check` compares, as the command line gives it.

    Attributes:
        backends: names, "all" for `list_quick_backends`; none for the proof in exact arithmetic.
        precisions: names; none for the usual ones.
        lengths: of the proof's further clips, "9,21". show_all: list every value of the proof.
        videos: to compare backends on; none for the bundled sample. frames: how many to compare.
        as_json: print one JSON object.
    """

    backends: Sequence[str]
    precisions: Sequence[str]
    lengths: str | None
    show_all: bool
    videos: Sequence[str]
    frames: int | None
    as_json: bool


def split_names(words: Sequence[str]) -> list[str]:
    """Names given one by one or joined by commas, each once."""
    names = (name.strip() for word in words for name in word.split(","))
    return list(dict.fromkeys(name for name in names if name))
