"""`co3d stream`: label a video, camera or network stream as it plays."""

import errno
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from co3d.cli.exit_codes import PIPE_CLOSED, STOPPED, SUCCESS
from co3d.cli.lines import JsonLines, PlainLines
from co3d.cli.live_view import LiveView
from co3d.cli.notices import ConnectionNotices, Notices
from co3d.cli.options import StreamOptions, read_crop
from co3d.cli.stop_request import StopRequest, silence
from co3d.cli.tables import print_stream_summary
from co3d.console import Console
from co3d.engine import Labeller, LabellingSummary, Prediction, open_labeller, read_rate_hz
from co3d.errors import (
    CameraError,
    DamagedVideoError,
    OptionError,
    SandboxError,
    SourceUnreachableError,
)
from co3d.printable import make_printable
from co3d.report import AnnotatedVideo, annotated_video, timeline_picture
from co3d.video import SourceState, VideoReader, hide_password, read_video


class PredictionSink(Protocol):
    """Anything that takes predictions as they come."""

    def add(self, prediction: Prediction) -> None:
        """Take in the next prediction."""
        ...


def stream_video(options: StreamOptions) -> int:
    """Label a source and print, until it ends, is stopped, or nobody reads what is printed.

    Returns, raises: see `_stream_video`; 141 when whoever read standard output went away.
    """
    try:
        return _stream_video(options)
    except BrokenPipeError:  # there are no outputs yet
        _silence_stdout()
        return PIPE_CLOSED


def _stream_video(options: StreamOptions) -> int:
    """Label a source to its end, or until it is stopped, and print a summary to standard error.

    Returns:
        The exit code: 0 at the end of the video, 130 when a signal stopped it, 141 when whoever
        read standard output went away. The outputs are complete in each case.

    Raises:
        DamagedVideoError, SourceUnreachableError, CameraError, SandboxError: the source broke off
            on the way; the outputs are complete up to there.
        Co3dError: see the exit codes in `co3d stream --help`. Of the outputs there is the video, as
            far as it was written.
    """
    _check_options(options)
    lines = JsonLines()
    listeners = [ConnectionNotices(hide_password(options.source)).show]
    if options.as_json:
        listeners.append(lines.show)

    def tell(state: SourceState) -> None:
        for listener in listeners:
            listener(state)

    rate_hz = read_rate_hz(options.model) if options.rate_hz is None else options.rate_hz
    with read_video(
        options.source,
        rate_hz=rate_hz,
        policy=options.policy,
        gap=options.gap,
        rotate=options.rotate,
        flip=options.flip,
        crop=None if options.crop is None else read_crop(options.crop),
        record=options.record,
        record_seconds=60.0 if options.record_seconds is None else options.record_seconds,
        reconnect_seconds=options.reconnect_seconds,
        rtsp_transport=options.rtsp_transport,
        poll_hz=options.poll_hz,
        folder_rate_hz=options.folder_rate_hz,
        on_state=tell,
    ) as reader:
        labeller = open_labeller(
            options.model,
            weights=options.weights,
            window=options.window,
            rate_hz=rate_hz,
            top_k=options.top_k,
            has_end=not reader.is_live,
            threshold=options.threshold,
            smooth_seconds=options.smooth_seconds,
            backend=options.backend,
            precision=options.precision,
            device=options.device,
            threads=options.threads,
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
                stop.leave_terminal()  # it went away in the middle of a line; SIGHUP comes too
                stop.request()
    notices.tell()
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
    """Find what cannot work before anything is opened."""
    if options.threads is not None and options.threads < 1:
        raise OptionError(f"cannot use {options.threads} threads: give --threads 1 or more")
    if options.record_seconds is not None and options.record is None:
        raise OptionError("cannot use --record-seconds without --record DIR: give both or neither")
    outputs = [path.resolve() for path in (options.output, options.timeline) if path is not None]
    if Path(options.source).resolve() in outputs:
        raise OptionError(f"cannot write over the source {options.source}: name another output")
    if len(set(outputs)) < len(outputs):
        raise OptionError(f"cannot write two outputs to {outputs[0]}: name two files")


def _open_outputs(
    options: StreamOptions,
    labeller: Labeller,
    reader: VideoReader,
    stop: StopRequest,
    outputs: ExitStack,
) -> list[PredictionSink]:
    """What writes predictions to files; it is entered on `outputs`."""
    sinks: list[PredictionSink] = []
    if options.output is not None:
        video = annotated_video(options.output, reader, labeller, is_stopped=lambda: stop.requested)
        sinks.append(outputs.enter_context(video))
    if options.timeline is not None:
        title = make_printable(f"{name_source(options.source)} · {labeller.card.name}")
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
    """What prints predictions on standard output."""
    if options.as_json:
        return lines
    if not sys.stdout.isatty():
        return PlainLines()
    view = LiveView(Console(), hide_password(options.source), labeller, reader, summary)
    return outputs.enter_context(view)


def name_source(source: str) -> str:
    """A source's name for titles: of files and folders without those above them."""
    if ":/" in source and not source.lower().startswith("file:"):
        return hide_password(source)
    return f"camera {source}" if source.isdecimal() else Path(source).absolute().name


def _silence_stdout() -> None:
    """Point standard output at nothing, so that the last flush does not fail on a closed pipe."""
    silence(sys.stdout.fileno())
