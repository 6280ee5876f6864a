"""`co3d export`: a network as one file that runs without its Python code."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.progress import track
from torch import Tensor

from co3d.cli.card_options import check_labels, make_card
from co3d.cli.networks import convert_opened, open_network
from co3d.cli.options import ConversionOptions, ExportOptions
from co3d.console import Console, say
from co3d.engine.playable import explain_unplayable
from co3d.errors import DamagedVideoError, OptionError, OutputError
from co3d.export import export_program
from co3d.models import ModelCard, find_card
from co3d.video import read_video

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".ts"}


def export_network(conversion: ConversionOptions, options: ExportOptions) -> None:
    """Convert a network, write the file, and say what is in it.

    Raises:
        ConversionError: the network cannot be converted.
        OptionError: options that do not go together or are out of range.
        Co3dError: as for `export_program` and `read_video`.
    """
    console = Console(stderr=True)
    with console.status("converting"):
        model, shapes = open_network(conversion)
        program = convert_opened(conversion, model, shapes, options.edges)
    card = make_card(
        options.card,
        find_card(model),
        program.name,
        shapes,
    )
    check_labels(card, program.output_shapes)
    calibration = None
    if options.calibrate:
        calibration = _read_frames(console, options, card)
    description = export_program(
        program,
        options.output,
        format=options.format,
        card=card,
        precision=options.precision,
        slots=options.slots,
        calibration=calibration,
    )
    slots = None if options.format == "torch" else options.slots
    _report(options, description, explain_unplayable(program, card, slots))


def _read_frames(
    console: Console, options: ExportOptions, card: ModelCard | None
) -> Iterable[Tensor]:
    """Frames of the calibration videos, one after the other, with a progress bar."""
    if card is None:
        raise OptionError(
            "cannot calibrate: the network does not say how to prepare a picture; add --rate-hz, "
            "--mean and --std, or call co3d.export_program with frames of your own"
        )
    if options.calibration_frames < 1:
        raise OptionError(
            f"cannot calibrate on {options.calibration_frames} frames: give at least 1"
        )
    videos = list(_find_videos(options.calibrate))
    share = -(-options.calibration_frames // len(videos))
    frames = _decode(videos, card, share, options.calibration_frames)
    total = options.calibration_frames
    return track(frames, "calibrating", total=total, console=console, transient=True)


def _find_videos(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
        if not found:
            raise OptionError(
                f"cannot calibrate on {path}: it holds no video (a file ending in "
                f"{', '.join(sorted(VIDEO_SUFFIXES))}); name another folder, or files"
            )
        yield from found


def _decode(videos: list[Path], card: ModelCard, share: int, total: int) -> Iterator[Tensor]:
    """As many frames of each video, `total` in all at most; a damaged end is left out."""
    given = 0
    for video in videos:
        with read_video(str(video), rate_hz=card.rate_hz) as reader:
            try:
                for index, frame in enumerate(reader):
                    if index == share or given == total:
                        break
                    given += 1
                    yield card.preprocess(frame.image)
            except DamagedVideoError:
                continue


def _report(options: ExportOptions, description: str, unplayable: str | None) -> None:
    """Print what was written, and how to run it; `unplayable` is why `co3d stream` cannot."""
    path = options.output
    files = [path] if options.format != "openvino" else [path, path.with_suffix(".bin")]
    try:
        size_bytes = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise OutputError(f"cannot read {path} back: {error.strerror}; export it again") from error
    figures = {
        "files": [str(file) for file in files],
        "format": options.format,
        "precision": options.precision,
        "size_bytes": size_bytes,
    }
    if options.as_json:
        print(json.dumps({**figures, "description": json.loads(description)}, indent=2))
        return
    say(f"wrote {' and '.join(figures['files'])}: {size_bytes / 1e6:.1f} MB, {options.precision}")
    if unplayable is None:
        say(f"run it with: co3d stream VIDEO --model {path}")
    else:
        say(f"`co3d stream` cannot play it: {unplayable}; see docs/export.md for how to run it")
