"""Which kind of source a name means, and opening it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from co3d.errors import CameraError, OptionError
from co3d.video.address import URL_SCHEMES, find_scheme, hide_password
from co3d.video.allowance import Allowance
from co3d.video.connection import POLL_HZ
from co3d.video.container import RtspTransport, open_camera, open_url, report_faults
from co3d.video.file import FileSource
from co3d.video.folder import FolderSource
from co3d.video.inputs import (
    SESSION_SUFFIX,
    describe_namesake,
    is_device,
    is_pipe,
    name_pipe,
    open_pipe,
    open_session,
)
from co3d.video.limits import VideoLimits
from co3d.video.live import LiveSource
from co3d.video.packet_tap import PacketTap
from co3d.video.recording import Recorder
from co3d.video.source import FrameSource
from co3d.video.source_state import StateListener


@dataclass(frozen=True)
class SourceRequest:
    """What to open, and how; see `read_video`.

    Attributes:
        drops_late: whether a live source drops what comes too fast; None drops, but not of pipes.
        poll_hz: None means 5.
    """

    source: str | int | Path
    drops_late: bool | None
    queue_frames: int
    reconnect_seconds: float | None
    folder_rate_hz: float
    rtsp_transport: RtspTransport
    poll_hz: float | None
    limits: VideoLimits
    decoder_threads: int | None
    decodes_ahead: bool
    allowance: Allowance | None = None


@dataclass(frozen=True)
class OpenedSource:
    """An open source.

    Attributes:
        notices: what is odd about its name.
        comes_once: it cannot be opened again.
    """

    source: FrameSource
    notices: tuple[str, ...] = ()
    comes_once: bool = False


def open_source(
    request: SourceRequest, recorder: PacketTap | None, on_state: StateListener | None
) -> OpenedSource:
    """Open a source in this process; see `read_video` for errors."""
    source, limits = request.source, request.limits
    if request.allowance is not None:
        request.allowance.check_scheme(str(source))
    open_live = partial(
        LiveSource,
        drop_oldest=request.drops_late is not False,
        queue_frames=request.queue_frames,
        reconnect_seconds=request.reconnect_seconds,
        recorder=recorder,
        poll_hz=request.poll_hz or POLL_HZ,
        on_state=on_state,
        limits=limits,
        decoder_threads=request.decoder_threads,
        decodes_ahead=request.decodes_ahead,
    )
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        notices, name = describe_namesake(source), f"camera {int(source)}"
        try:
            with report_faults(name):
                opened = open_live(partial(open_camera, int(source)), name, is_camera=True)
        except CameraError as error:
            raise CameraError("; ".join((str(error), *notices))) from error
        return OpenedSource(opened, notices)
    if isinstance(source, str) and (scheme := find_scheme(source)):
        if "://" not in source:
            raise OptionError(
                f"cannot read {hide_password(source)}: expected two slashes, {scheme}://…"
            )
        if scheme not in URL_SCHEMES:
            raise OptionError(
                f"cannot read {hide_password(source)}: got scheme {scheme!r}, "
                f"expected {', '.join(URL_SCHEMES)}"
            )
        opener = partial(open_url, source, request.rtsp_transport, limits, request.allowance)
        name, is_http = hide_password(source), scheme in ("http", "https")
        with report_faults(name):
            return OpenedSource(open_live(opener, name, may_be_recording=is_http))
    if is_device(str(source)):
        opener, name = partial(open_camera, str(source)), f"camera {source}"
        with report_faults(name):
            return OpenedSource(open_live(opener, name, is_camera=True))
    if is_pipe(str(source)):
        # It keeps whoever writes into it waiting, unless the latest of it is asked for.
        drops = request.drops_late is True
        opener, name = partial(open_pipe, str(source), limits), name_pipe(str(source))
        with report_faults(name):
            opened = open_live(opener, name, is_pipe=True, drop_oldest=drops)
        return OpenedSource(opened, comes_once=True)
    if Path(source).suffix.lower() == SESSION_SUFFIX and Path(source).is_file():
        with report_faults(str(source)):
            opener = partial(open_session, Path(source), limits)
            return OpenedSource(open_live(opener, str(source)))
    with report_faults(str(source)):
        return OpenedSource(_open_local(Path(source), request, recorder))


def _open_local(path: Path, request: SourceRequest, recorder: PacketTap | None) -> FrameSource:
    """A folder of pictures, or a file."""
    if not path.is_dir():
        return FileSource(path, request.limits, recorder, request.decoder_threads)
    if isinstance(recorder, Recorder):
        raise OptionError(
            f"cannot record {path}: a folder of pictures is no stream of packets; copy it"
        )
    return FolderSource(path, request.folder_rate_hz, request.limits)
