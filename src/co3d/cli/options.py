"""The options of the commands, as records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from co3d.errors import OptionError

if TYPE_CHECKING:  # importing it would load PyTorch before `co3d --help` is printed
    from co3d.engine.camera import Camera

Policy = Literal["latest", "every"]
RtspTransport = Literal["auto", "tcp", "udp"]
TlsMode = Literal["verify", "off"]
Gap = Literal["keep", "reset"]
Flip = Literal["horizontal", "vertical"]
Rate = Literal["dense", "native"]
Scope = Literal["frame", "window"]
Edges = Literal["start", "both", "none"]
ExportFormat = Literal["onnx", "openvino", "torch", "triton"]
Strategy = Literal["direct", "oldest"]


@dataclass(frozen=True)
class StreamOptions:
    """The options of `co3d stream`, as the command line gives them.

    Attributes:
        camera: the source, and how it is labelled; of several sources the first.
        model: registry name, exported file or file.py:factory. weights: tag or path.
        clip: "C,T,H,W" of a network of the user's file. card: its description, without its rate.
        window: feature frames averaged.
        output: annotated video. timeline: picture. as_json: one JSON object a line.
        record: folder for the packets of the source. record_seconds: length of a file there;
            None for a minute.
        threads: CPU threads for the network.
        backend, precision, device: as for `co3d.open_stream`.
    """

    camera: "Camera"
    model: str
    weights: str | None
    clip: str | None
    card: "CardOptions"
    window: int | None
    output: Path | None
    timeline: Path | None
    as_json: bool
    record: Path | None
    record_seconds: float | None
    threads: int | None
    backend: str
    precision: str | None
    device: str


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

    @property
    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of `co3d.convert`."""
        names = ("window", "rate", "scope", "fallback", "spread")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class CardOptions:
    """The options that describe a network; None takes the value of its own card.

    Attributes:
        rate_hz: frames per second that it gets.
        mean, std: "R,G,B" of pixels in [0, 1].
        short_side_px: short side that pictures are scaled to before the crop.
        labels: file with a class name a line.
    """

    rate_hz: float | None = None
    mean: str | None = None
    std: str | None = None
    short_side_px: int | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class ExportOptions:
    """The options of one run of `co3d export`, besides the network and how to convert it.

    Attributes:
        format, precision: as for `co3d.export_program`, or "triton" and one of its precisions.
        slots: videos that step together; None for the format's default.
        edges: as for `co3d.convert`.
        output: the file; for "triton" the repository.
        strategy, idle_seconds: as for `write_triton_repository`; None for its defaults.
        calibrate: videos, or folders of videos, on which int8's ranges are measured.
        calibration_frames: the most frames used of them.
        card: how the network is fed, if it does not say so itself.
        as_json: print one JSON object instead of lines.
    """

    format: ExportFormat
    precision: str
    slots: int | None
    edges: Edges
    output: Path
    strategy: Strategy | None
    idle_seconds: float | None
    calibrate: tuple[Path, ...]
    calibration_frames: int
    card: CardOptions
    as_json: bool


@dataclass(frozen=True)
class CheckOptions:
    """The options of `co3d check`, as the command line gives them.

    Attributes:
        backends: names, "all" for `list_quick_backends`; none for the proof in exact arithmetic.
        precisions: names; none for the default ones.
        lengths: of the proof's further clips, "9,21". show_all: list every value of the proof.
        videos: to compare backends on; none for the bundled sample. frames: how many to compare.
        device: torch device of the backends; the proof always runs on the CPU.
        as_json: print one JSON object.
    """

    backends: Sequence[str]
    precisions: Sequence[str]
    lengths: str | None
    show_all: bool
    videos: Sequence[str]
    frames: int | None
    device: str
    as_json: bool


def read_crop(text: str) -> tuple[int, int, int, int]:
    """Parse a crop "X,Y,WIDTH,HEIGHT".

    Raises:
        OptionError: it is not four integers.
    """
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError as error:
        raise OptionError(
            f"cannot crop to {text!r}: expected --crop X,Y,WIDTH,HEIGHT in whole pixels, such as "
            "--crop 320,0,640,480"
        ) from error
    return x, y, width, height


def split_names(words: Sequence[str]) -> list[str]:
    """Split names joined by commas; each name is returned once."""
    names = (name.strip() for word in words for name in word.split(","))
    return list(dict.fromkeys(name for name in names if name))
