"""Open files, network streams and cameras with PyAV; turn its failures into ours."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EPROTONOSUPPORT
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer
from av.error import ArgumentError, ExitError, FFmpegError, InvalidDataError, ProtocolNotFoundError
from av.error import EOFError as EndOfFileError
from av.error import OSError as InputOutputError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from co3d.errors import (
    CameraError,
    Co3dError,
    EmptyVideoError,
    MissingPackageError,
    NotAVideoError,
    NoVideoStreamError,
    SourceNotFoundError,
    SourceUnreachableError,
)
from co3d.video.access import FILE_OPTIONS, FORMATS, NETWORK_OPTIONS, PLAYLIST
from co3d.video.address import hide_password, needs_encoding
from co3d.video.allowance import Allowance
from co3d.video.http_files import HttpFiles
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits

PROBES_WITH_OPTIONS = int(av.__version__.split(".")[0]) >= 18
"""Before, PyAV crashes with `options` when a stream appears while a file is being opened, as in a
damaged .flv. Settings of the container go to `container_options`, therefore."""

KEEP_TIMESTAMPS = {"correct_ts_overflow": "0"}
"""FFmpeg takes times behind the first for a counter that wrapped, and adds 26 hours to them."""

PACKAGE = str(Path(__file__).parents[1])
RtspTransport = Literal["auto", "tcp", "udp"]
RTSP_OPTIONS: dict[RtspTransport, dict[str, str]] = {
    "auto": {"rtsp_flags": "prefer_tcp"},
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
}

RTSP_PROBE = {"analyzeduration": "500000"}
"""FFmpeg watches half a second of a camera, which states its codec, to tell its rate; its own limit
is five seconds, of which a camera with eight frames a second took 3.7."""

OPEN_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 5.0
PICTURE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

TRANSPORT_STREAM_SUFFIXES = frozenset({".ts", ".mts", ".m2ts"})
PLAYLIST_FORMATS = ("hls",)
"""They fetch every variant and language that is not discarded."""

FFMPEG_BOUNDS_REDIRECTS = av.library_versions["libavformat"] >= (62, 12)
"""Whether `max_redirects` is known; else redirects are followed before FFmpeg sees the address."""

NO_REDIRECTS = {"max_redirects": "0"}
NEW_CONNECTIONS = {"http_persistent": "0", "http_multiple": "0"}
"""FFmpeg keeps connections of playlists for its own files alone."""


def refuse_missing(path: Path) -> None:
    """Raise SourceNotFoundError where there is no file or folder of this name."""
    if not path.exists():
        raise SourceNotFoundError(f"cannot open {path}: no such file; check the path")


def open_file(path: Path, limits: VideoLimits = DEFAULT_LIMITS) -> InputContainer:
    """Open a local file; no other is read on its behalf.

    Raises:
        SourceNotFoundError: there is no such file, or it may not be read.
        EmptyVideoError: the file holds nothing.
        NotAVideoError: no demuxer understands it.
    """
    refuse_missing(path)
    if not path.is_file():
        raise NotAVideoError(f"cannot open {path}: not a regular file; name a video file")
    if not os.access(path, os.R_OK):
        raise SourceNotFoundError(f"cannot open {path}: no permission to read; change its mode")
    if path.stat().st_size == 0:
        raise EmptyVideoError(f"cannot read {path}: the file has 0 bytes; fetch it again")
    try:
        return _open_local(path, limits)
    except EndOfFileError as error:
        # FFmpeg does not know a transport stream of ten packets by its content.
        if path.suffix.lower() in TRANSPORT_STREAM_SUFFIXES:
            with contextlib.suppress(FFmpegError):
                return _open_local(path, limits, "mpegts")
        raise EmptyVideoError(
            f"cannot read {path}: it ends before its first frame; fetch it again"
        ) from error
    except ArgumentError as error:
        raise NotAVideoError(
            f"cannot read {path}: it is a playlist, or of a format that is not read; name the "
            "video itself, or convert it: ffmpeg -i FILE video.mp4"
        ) from error
    except FFmpegError as error:
        raise NotAVideoError(
            f"cannot read {path}: no demuxer understands it ({error.strerror}); expected a video "
            "file that is complete, such as .mp4 or .mkv"
        ) from error


def _open_local(path: Path, limits: VideoLimits, kind: str | None = None) -> InputContainer:
    """Open a file as FFmpeg finds it to be, or as of this kind."""
    # The prefix keeps a name such as "10:30.mp4" from being taken for a protocol.
    options = {**FILE_OPTIONS, **KEEP_TIMESTAMPS}
    return open_media(f"file:{path.absolute()}", kind, limits, container_options=options)


def open_media(
    place: str | BytesIO,
    kind: str | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    **options: Any,
) -> InputContainer:
    """Open for reading; a tag that is not UTF-8 must not keep anybody from the frames."""
    if PROBES_WITH_OPTIONS:  # FFmpeg decodes a few frames to tell what a stream holds
        options["options"] = limits.decoder_options
    return av.open(place, "r", kind, metadata_errors="replace", **options)


def read_packets(container: InputContainer, *streams: VideoStream) -> Iterator[Packet]:
    """Packets of these streams, or of all, and an empty one of each at the end."""
    while True:
        try:
            yield from container.demux(*streams)
            return
        except IndexError:  # a packet of a stream that has appeared since, which PyAV trips over
            continue


@contextmanager
def report_faults(name: str) -> Iterator[None]:
    """Raise what PyAV trips over in the block as a NotAVideoError of this source.

    Damaged files have values of which PyAV or FFmpeg expect nothing; what, no list can tell.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, Co3dError) or not _is_of_pyav(error):
            raise
        raise NotAVideoError(
            f"cannot read {name}: {type(error).__name__} ({error}); fetch it again, or convert it"
        ) from error


def _is_of_pyav(error: Exception) -> bool:
    """Whether PyAV was at work when an error arose: it is compiled, and its paths are short."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    last_of_ours = max((n for n, file in enumerate(files) if file.startswith(PACKAGE)), default=-1)
    return any(file.startswith("av/") for file in files[last_of_ours + 1 :])


def network_timeouts() -> tuple[float, float]:
    """How long to wait for a server that says nothing, while opening and while reading, in s."""
    return OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS


def open_url(
    url: str,
    rtsp_transport: RtspTransport = "auto",
    limits: VideoLimits = DEFAULT_LIMITS,
    allowance: Allowance | None = None,
) -> InputContainer:
    """Open a network stream within a bounded time.

    Args:
        url: begins with its scheme and two slashes.
        rtsp_transport: what RTSP sends video over; "auto" takes UDP where the server refuses TCP.
        allowance: what may be opened, of an address that somebody else chose; None for any.

    Raises:
        SourceUnreachableError: nobody answers, or the answer is a refusal.
        NotAVideoError: the server answers with something else than video, or may not be asked.
        MissingPackageError: FFmpeg was built without this protocol, as without srt.
    """
    shown, allowed_options = url, {}
    if allowance is not None:
        url, allowed_options = _pin(url, allowance)
    scheme, rest = url.split("://", 1)
    scheme = scheme.lower()  # FFmpeg knows them in small letters only
    kind = scheme.removesuffix("s")
    options = {**KEEP_TIMESTAMPS, **NETWORK_OPTIONS[kind], **allowed_options}
    if kind == "rtsp":
        options |= RTSP_OPTIONS[rtsp_transport] | RTSP_PROBE
    if kind == "http" and rest.lower().endswith(PICTURE_ENDINGS):
        # Else FFmpeg goes by the ending, and % in the address means numbers to it.
        rest += "&" if "?" in rest else "?"
    address = f"{scheme}://{rest}"
    try:
        if kind == "http" and allowance is None:
            return _open_http(address, options, limits)
        return _open_network(address, options, limits)
    except ProtocolNotFoundError as error:
        raise MissingPackageError(
            f"cannot read {hide_password(shown)}: this build of PyAV has no {scheme}; send it on, "
            f"with `ffmpeg -i ADDRESS -c copy -f mpegts udp://127.0.0.1:5000`, and read that"
        ) from error
    except FFmpegError as error:
        if kind == "http" and isinstance(error, InvalidDataError | ArgumentError):
            raise NotAVideoError(
                f"cannot read {hide_password(shown)}: the server answers, but not with video; "
                "check the address"
            ) from error
        cause = "no answer in time" if isinstance(error, ExitError) else error.strerror
        advice = "check the address and that the server runs"
        if error.errno == EPROTONOSUPPORT and rtsp_transport != "auto":
            advice = f"the server does not send over {rtsp_transport}; let it choose (auto)"
        if scheme == "rtp":
            advice += "; formats with a number from 96 on need an .sdp file that describes them"
        if needs_encoding(shown):
            advice += "; percent-encode the password (@ is %40, / is %2F, ? is %3F, # is %23)"
        raise SourceUnreachableError(
            f"cannot reach {hide_password(shown)}: {cause}; {advice}"
        ) from error


def _pin(url: str, allowance: Allowance) -> tuple[str, dict[str, str]]:
    """An allowed address by its number, and options with which it leads nowhere else."""
    if url.split("://", 1)[0].lower().removesuffix("s") != "http":
        return allowance.pin(url).address, {}
    if not FFMPEG_BOUNDS_REDIRECTS:
        raise MissingPackageError(
            f"cannot open {hide_password(url)}: this PyAV follows redirects anywhere; update it"
        )
    try:
        pinned = allowance.follow(url, READ_TIMEOUT_SECONDS)
    except OSError as error:
        raise SourceUnreachableError(
            f"cannot reach {hide_password(url)}: {error}; check the address and that the server "
            "runs"
        ) from error
    return pinned.address, {**NO_REDIRECTS, "headers": f"Host: {pinned.host}\r\n"}


def _open_http(address: str, options: dict[str, str], limits: VideoLimits) -> InputContainer:
    """Open what an HTTP server sends; redirects and playlists lead no further than they may."""
    files = HttpFiles(address, READ_TIMEOUT_SECONDS)
    options = {**options, **NO_REDIRECTS}
    if not FFMPEG_BOUNDS_REDIRECTS:
        address = _follow(files, address)
    try:
        return _open_answer(address, options, files, limits)
    except ArgumentError:  # of none of `FORMATS`: a playlist, perhaps
        options = {**options, **NEW_CONNECTIONS, "format_whitelist": f"{PLAYLIST},{FORMATS}"}
        return _open_network(_follow(files, address), options, limits, io_open=files.open)


def _open_answer(
    address: str, options: dict[str, str], files: HttpFiles, limits: VideoLimits
) -> InputContainer:
    """Open what lies at an address, or where its redirects end."""
    try:
        return _open_network(address, options, limits)
    except InputOutputError:  # as FFmpeg says of a redirect, too
        end = _follow(files, address)
        if end == address:
            raise
    return _open_network(end, options, limits)


def _open_network(
    address: str, options: dict[str, str], limits: VideoLimits, **more: Any
) -> InputContainer:
    timeout = network_timeouts()
    return open_media(address, None, limits, container_options=options, timeout=timeout, **more)


def _follow(files: HttpFiles, address: str) -> str:
    """Where redirects end; the address itself while nobody answers."""
    try:
        return files.find_end()
    except (OSError, HTTPException, ValueError):
        return address


def open_camera(index: int | str) -> InputContainer:
    """Open a local camera by its number, or by its path on Linux.

    Raises:
        CameraError: it is absent, busy, or may not be used.
    """
    try:
        if isinstance(index, str):
            return open_media(index, "v4l2")
        if sys.platform == "win32":
            return open_media(f"video={_directshow_name(index)}", "dshow")
        if sys.platform == "darwin":
            options = {"framerate": "30"}
            return open_media(f"{index}:none", "avfoundation", container_options=options)
        return open_media(f"/dev/video{index}", "v4l2")
    except (FFmpegError, ValueError) as error:
        raise CameraError(
            f"cannot open camera {index}: {error}; check that it is plugged in, that no other "
            "program uses it, and that this one may"
        ) from error


def _directshow_name(index: int) -> str:
    from av.device import enumerate_input_devices

    devices = enumerate_input_devices("dshow")
    cameras = [device.name for device in devices if "video" in device.media_types]
    if not 0 <= index < len(cameras):
        raise ValueError(f"{len(cameras)} cameras found")
    return cameras[index]


def choose_stream(
    container: InputContainer, name: str, limits: VideoLimits = DEFAULT_LIMITS
) -> VideoStream:
    """Pick the video: the first stream that the container marks as default, else the first.

    Cover art is not video. Of a playlist nothing else is fetched from then on.

    Raises:
        NoVideoStreamError: the container has streams, but none of video.
        EmptyVideoError: it has no streams at all.
        NotAVideoError: the stream has no decoder.
        VideoLimitError: its pictures are too large.
    """
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        kinds = {
            "cover art" if stream.type == "video" else stream.type for stream in container.streams
        }
        if not kinds:
            raise EmptyVideoError(f"cannot read {name}: it holds no stream; fetch it again")
        raise NoVideoStreamError(
            f"cannot read {name}: it holds {' and '.join(sorted(kinds))} but no video; "
            "name another file"
        )
    stream = next((s for s in videos if s.disposition & Disposition.default), videos[0])
    if stream.codec_context is None:
        raise NotAVideoError(f"cannot read {name}: its video codec is unknown; convert it to H.264")
    limits.check_picture(stream.codec_context.width, stream.codec_context.height, name)
    # Larger pictures may come later; the decoder refuses them before it takes memory.
    stream.codec_context.options = limits.decoder_options
    if container.format.name in PLAYLIST_FORMATS:
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
    return stream
