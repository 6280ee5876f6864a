"""`co3d stream`: label a video, camera or network stream as it plays."""

import errno
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from co3d.cli.exit_codes import PIPE_CLOSED, STOPPED, SUCCESS
from co3d.cli.lines import JsonLines, PlainLines
from co3d.cli.live_view import LiveView
from co3d.cli.networks import open_streamed
from co3d.cli.notices import ConnectionNotices, Notices
from co3d.cli.options import StreamOptions
from co3d.cli.quiet_terminal import quiet_terminal
from co3d.cli.stop_request import StopRequest, silence
from co3d.cli.tables import print_stream_summary
from co3d.cli.waiting import waiting
from co3d.console import Console
from co3d.engine import Labeller, LabellingSummary, Prediction, find_network, open_labeller
from co3d.errors import (
    CameraError,
    DamagedVideoError,
    OptionError,
    SandboxError,
    SourceUnreachableError,
)
from co3d.files import require_folder
from co3d.models.file_networks import redirect_prints
from co3d.printable import make_printable
from co3d.report import AnnotatedVideo, annotated_video, check_picture_path, timeline_picture
from co3d.video import SourceState, VideoReader, hide_password, require_file
from co3d.video.writer import check_video_path


class PredictionSink(Protocol):
    """Anything that receives predictions as they are made."""

    def add(self, prediction: Prediction) -> None:
        """Receive the next prediction."""
        ...


def stream_video(options: StreamOptions) -> int:
    """Label a source and print, until it ends, is stopped, or standard output is closed.

    Returns, raises: see `_stream_video`; 141 when standard output is closed.
    """
    try:
        return _stream_video(options)
    except BrokenPipeError:  # before any output was opened
        _silence_stdout()
        return PIPE_CLOSED


def _stream_video(options: StreamOptions) -> int:
    """Label a source until it ends or is stopped, and print a summary to standard error.

    Returns:
        The exit code: 0 at the end of the video, 130 when a signal stopped it, 141 when standard
        output was closed. The outputs are complete in each case.

    Raises:
        DamagedVideoError, SourceUnreachableError, CameraError, SandboxError: the source broke off;
            the outputs are complete up to there.
        Co3dError: see `co3d help exit-codes`. The annotated video is kept as far as it was
            written; there are no other outputs.
    """
    _check_options(options)
    lines = JsonLines()
    camera = options.camera
    listeners = [ConnectionNotices(camera.name).show]
    if options.as_json:
        listeners.append(lines.show)

    def tell(state: SourceState) -> None:
        for listener in listeners:
            listener(state)

    require_file(camera.source)  # before a user's network file is run
    network = open_streamed(options)
    card, exported = find_network(network.model)
    rate_hz = card.rate_hz if camera.rate_hz is None else camera.rate_hz
    with camera.read(
        rate_hz,
        tell,
        record=options.record,
        record_seconds=60.0 if options.record_seconds is None else options.record_seconds,
        decoder_threads=None,
        decodes_ahead=True,
    ) as reader:
        with redirect_prints(), waiting(f"opening {options.model}"):
            labeller = open_labeller(
                network.model,
                weights=network.weights,
                window=options.window,
                labels=network.labels,
                rate_hz=rate_hz,
                top_k=camera.top_k,
                has_end=not reader.is_live,
                threshold=camera.threshold,
                smooth_seconds=camera.smooth_seconds,
                backend=options.backend,
                precision=options.precision,
                device=options.device,
                threads=options.threads,
                meanwhile=True,
                exported=exported,
            )
        summary = LabellingSummary(labeller.rate_hz)
        notices = Notices(reader)
        loss, pipe_closed = None, False
        with StopRequest(reader.close) as stop, ExitStack() as outputs:
            sinks: list[PredictionSink] = [summary, notices]
            sinks += _open_outputs(options, labeller, reader, stop, outputs)
            videos = [sink for sink in sinks if isinstance(sink, AnnotatedVideo)]
            sinks.append(_open_screen(options, labeller, reader, summary, lines, outputs))
            if isinstance(sinks[-1], LiveView):
                listeners.append(sinks[-1].show)
            try:
                for prediction in labeller.label(reader):
                    for sink in sinks:
                        sink.add(prediction)
            except (
                DamagedVideoError,
                SourceUnreachableError,
                CameraError,
                SandboxError,
            ) as error:
                loss = error  # raised once the outputs are complete
            except BrokenPipeError:
                pipe_closed = True
                stop.request()
            except OSError as error:
                if type(error) is not OSError or error.errno != errno.EIO:
                    raise
                stop.discard_terminal_output()  # it closed in the middle of a line; SIGHUP follows
                stop.request()
    notices.print_new()
    if pipe_closed:
        _silence_stdout()
        return PIPE_CLOSED
    written = [path for path in (options.output, options.timeline) if path is not None]
    if reader.recorder is not None and reader.recorder.segments_written:
        written.append(reader.recorder.folder)
    left_out = sum(video.dropped_pictures for video in videos)
    print_stream_summary(Console(stderr=True), labeller, summary, written, left_out)
    if loss is not None:
        raise loss
    return STOPPED if stop.requested else SUCCESS


def _check_options(options: StreamOptions) -> None:
    """Check the options before anything is opened."""
    if options.threads is not None and options.threads < 1:
        raise OptionError(f"cannot use {options.threads} threads: give --threads 1 or more")
    if options.record_seconds is not None and options.record is None:
        raise OptionError("cannot use --record-seconds without --record DIR: give both or neither")
    outputs = [path.resolve() for path in (options.output, options.timeline) if path is not None]
    if Path(options.camera.source).resolve() in outputs:
        raise OptionError(
            f"cannot write over the source {options.camera.source}: name another output"
        )
    if len(set(outputs)) < len(outputs):
        raise OptionError(f"cannot write two outputs to {outputs[0]}: name two files")
    if options.output is not None:
        check_video_path(options.output)
        require_folder(options.output)
    if options.timeline is not None:
        check_picture_path(options.timeline)


def _open_outputs(
    options: StreamOptions,
    labeller: Labeller,
    reader: VideoReader,
    stop: StopRequest,
    outputs: ExitStack,
) -> list[PredictionSink]:
    """The sink that writes predictions to files; registered on `outputs`."""
    sinks: list[PredictionSink] = []
    if options.output is not None:
        video = annotated_video(options.output, reader, labeller, is_stopped=lambda: stop.requested)
        sinks.append(outputs.enter_context(video))
    if options.timeline is not None:
        title = make_printable(f"{name_source(options.camera.source)} · {labeller.card.name}")
        picture = timeline_picture(options.timeline, labeller, title=title)
        sinks.append(outputs.enter_context(picture))
    return sinks


def _open_screen(
    options: StreamOptions,
    labeller: Labeller,
    reader: VideoReader,
    summary: LabellingSummary,
    lines: JsonLines,
    outputs: ExitStack,
) -> PredictionSink:
    """The sink that prints predictions on standard output."""
    if options.as_json:
        return lines
    if not sys.stdout.isatty():
        return PlainLines()
    outputs.enter_context(quiet_terminal(sys.stdout))
    view = LiveView(Console(), options.camera.name, labeller, reader, summary)
    return outputs.enter_context(view)


def name_source(source: str) -> str:
    """A source's name for titles: for files and folders without their parent folders."""
    if ":/" in source and not source.lower().startswith("file:"):
        return hide_password(source)
    return f"camera {source}" if source.isdecimal() else Path(source).absolute().name


def _silence_stdout() -> None:
    """Redirect standard output to nothing, so that the last flush to a closed pipe succeeds."""
    silence(sys.stdout.fileno())
