"""Find out which kind of source a name means, and open it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from av.codec.hwaccel import HWAccel

from co3d.errors import CameraError, OptionError
from co3d.video.address import URL_SCHEMES, find_scheme, hide_password
from co3d.video.allowance import Allowance
from co3d.video.camera_device import open_camera
from co3d.video.certificates import TlsSettings
from co3d.video.connection import POLL_HZ
from co3d.video.container import (
    RTSP_OPTIONS,
    VERIFY,
    RtspTransport,
    open_url,
    translate_pyav_errors,
)
from co3d.video.file import FileSource
from co3d.video.folder import FolderSource
from co3d.video.hardware import find_hardware
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
        drops_late: whether a live source drops frames when the consumer is late; None means yes
            except for pipes.
        poll_hz: None means 5.

    Raises:
        OptionError: a value cannot work.
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
    decode: str = "cpu"
    tls: TlsSettings = VERIFY

    def __post_init__(self) -> None:
        if self.rtsp_transport not in RTSP_OPTIONS:
            raise OptionError(
                f"cannot read over rtsp_transport {self.rtsp_transport!r}; choose 'auto', 'tcp' "
                "or 'udp'"
            )
        if self.queue_frames < 1:
            raise OptionError(
                f"queue_frames is {self.queue_frames}, expected at least 1; choose 8, say"
            )
        if self.reconnect_seconds is not None and not self.reconnect_seconds >= 0:
            raise OptionError(f"reconnect_seconds is {self.reconnect_seconds}, expected 0 or more")


@dataclass(frozen=True)
class OpenedSource:
    """An open source.

    Attributes:
        notices: what is odd about its name, and why no device decodes it.
        comes_once: the source cannot be opened again.
    """

    source: FrameSource
    notices: tuple[str, ...] = ()
    comes_once: bool = False


def open_source(
    request: SourceRequest, recorder: PacketTap | None, on_state: StateListener | None
) -> OpenedSource:
    """Open a source in this process; see `read_video` for errors."""
    source, limits = request.source, request.limits
    hwaccel, fallback = find_hardware(request.decode)
    notices = () if fallback is None else (fallback,)
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
        name = f"camera {int(source)}"
        notices = (*notices, *describe_namesake(source))
        try:
            with translate_pyav_errors(name):
                opener = partial(open_camera, int(source), hwaccel)
                opened = open_live(opener, name, is_camera=True)
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
        opener = partial(
            open_url,
            source,
            request.rtsp_transport,
            limits,
            request.allowance,
            hwaccel,
            request.tls,
        )
        name, is_http = hide_password(source), scheme in ("http", "https")
        with translate_pyav_errors(name):
            return OpenedSource(open_live(opener, name, may_be_recording=is_http), notices)
    if is_device(str(source)):
        opener, name = partial(open_camera, str(source), hwaccel), f"camera {source}"
        with translate_pyav_errors(name):
            return OpenedSource(open_live(opener, name, is_camera=True), notices)
    if is_pipe(str(source)):
        # A pipe's writer blocks until its data is read, unless late frames are to be dropped.
        drops = request.drops_late is True
        opener, name = partial(open_pipe, str(source), limits, hwaccel), name_pipe(str(source))
        with translate_pyav_errors(name):
            opened = open_live(opener, name, is_pipe=True, drop_oldest=drops)
        return OpenedSource(opened, notices, comes_once=True)
    if Path(source).suffix.lower() == SESSION_SUFFIX and Path(source).is_file():
        with translate_pyav_errors(str(source)):
            opener = partial(open_session, Path(source), limits, hwaccel)
            return OpenedSource(open_live(opener, str(source)), notices)
    with translate_pyav_errors(str(source)):
        return OpenedSource(_open_local(Path(source), request, recorder, hwaccel), notices)


def _open_local(
    path: Path, request: SourceRequest, recorder: PacketTap | None, hwaccel: HWAccel | None
) -> FrameSource:
    """A folder of pictures, or a file."""
    if not path.is_dir():
        return FileSource(path, request.limits, recorder, request.decoder_threads, hwaccel)
    if isinstance(recorder, Recorder):
        raise OptionError(
            f"cannot record {path}: a folder of pictures is no stream of packets; copy it"
        )
    return FolderSource(path, request.folder_rate_hz, request.limits)
