"""`co3d export`: a network as one file, or as a model for Triton, without its Python code."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.progress import track
from torch import Tensor

from co3d.cli.card_options import check_labels, make_card
from co3d.cli.networks import convert_opened, open_network
from co3d.cli.options import ConversionOptions, ExportOptions
from co3d.compiler.program import StepProgram
from co3d.console import Console, say
from co3d.engine.playable import explain_unplayable
from co3d.errors import DamagedVideoError, OptionError, OutputError
from co3d.export import export_program
from co3d.fleet.triton_repository import write_triton_repository
from co3d.models import ModelCard, find_card
from co3d.video import read_video

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".ts"}


def export_network(conversion: ConversionOptions, options: ExportOptions) -> None:
    """Convert a network, write the file or the model for Triton, and print what is in it.

    Raises:
        ConversionError: the network cannot be converted.
        OptionError: options contradict each other or are out of range.
        Co3dError: as for `export_program`, `write_triton_repository` and `read_video`.
    """
    _check_format(options)
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
    if options.format == "triton":
        _export_for_triton(options, program, card)
        return
    calibration = None
    if options.calibrate:
        calibration = _read_frames(console, options, card)
    slots = 1 if options.slots is None else options.slots
    description = export_program(
        program,
        options.output,
        format=options.format,
        card=card,
        precision=options.precision,
        slots=slots,
        calibration=calibration,
    )
    path = options.output
    files = [path] if options.format != "openvino" else [path, path.with_suffix(".bin")]
    unplayable = explain_unplayable(program, card, None if options.format == "torch" else slots)
    if unplayable is None:
        advice = f"run it with: co3d stream VIDEO --model {path}"
    else:
        advice = f"`co3d stream` cannot play it: {unplayable}; see docs/export.md for how to run it"
    _report(options, files, description, advice)


def _check_format(options: ExportOptions) -> None:
    """Refuse options that the format does not support, before the network is built."""
    is_triton = options.format == "triton"
    if not is_triton and (options.strategy is not None or options.idle_seconds is not None):
        raise OptionError(
            f"cannot export: got --strategy or --idle-seconds with --format {options.format}, "
            "which has no sequences; leave them out, or add --format triton"
        )
    if is_triton and options.calibrate:
        raise OptionError(
            "cannot export: got --calibrate with --format triton, which has no int8; leave it out"
        )


def _export_for_triton(
    options: ExportOptions, program: StepProgram, card: ModelCard | None
) -> None:
    """Write a model repository; omitted options take the defaults of `write_triton_repository`."""
    given = {
        "sequences": options.slots,
        "strategy": options.strategy,
        "idle_seconds": options.idle_seconds,
    }
    folder, description = write_triton_repository(
        program,
        options.output,
        card=card,
        precision=options.precision,
        **{name: value for name, value in given.items() if value is not None},
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    advice = f"serve it with: tritonserver --model-repository {options.output}"
    _report(options, files, description, advice)


def _read_frames(
    console: Console, options: ExportOptions, card: ModelCard | None
) -> Iterable[Tensor]:
    """Frames of all calibration videos, in order, with a progress bar."""
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
    """Up to `share` frames per video and `total` in all; a damaged video ends at its damage."""
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


def _report(options: ExportOptions, files: list[Path], description: str, advice: str) -> None:
    """Print what was written, and how to run it."""
    try:
        size_bytes = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise OutputError(
            f"cannot read {options.output} back: {error.strerror}; export it again"
        ) from error
    figures = {
        "files": [str(file) for file in files],
        "format": options.format,
        "precision": options.precision,
        "size_bytes": size_bytes,
    }
    if options.as_json:
        print(json.dumps({**figures, "description": json.loads(description)}, indent=2))
        return
    say(f"wrote {', '.join(figures['files'])}: {size_bytes / 1e6:.1f} MB, {options.precision}")
    say(advice)
