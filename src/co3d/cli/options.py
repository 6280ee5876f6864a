"""What one run of `co3d stream` is asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Policy = Literal["latest", "every"]
Rate = Literal["dense", "native"]
Scope = Literal["frame", "window"]
Precision = Literal["float64", "float32"]


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
