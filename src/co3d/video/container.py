"""Open files, network streams and cameras with PyAV; turn its failures into ours."""

import contextlib
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EPROTONOSUPPORT
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import ArgumentError, ExitError, FFmpegError, InvalidDataError, ProtocolNotFoundError
from av.error import EOFError as EndOfFileError
from av.error import OSError as InputOutputError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from co3d.errors import (
    CertificateError,
    Co3dError,
    EmptyVideoError,
    MissingPackageError,
    NotAVideoError,
    NoVideoStreamError,
    OptionError,
    SourceNotFoundError,
    SourceUnreachableError,
)
from co3d.video.access import FILE_OPTIONS, FORMATS, NETWORK_OPTIONS, PLAYLIST
from co3d.video.address import hide_password, needs_encoding
from co3d.video.allowance import Allowance
from co3d.video.certificates import TlsSettings
from co3d.video.hardware import refuse_device
from co3d.video.http_files import HttpFiles
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits

PROBES_WITH_OPTIONS = int(av.__version__.split(".")[0]) >= 18
"""Before this version, PyAV crashes with `options` when a stream appears while a file is opened, as
in a damaged .flv. Settings of the container therefore go to `container_options`."""

KEEP_TIMESTAMPS = {"correct_ts_overflow": "0"}
"""FFmpeg takes timestamps before the first one for a wrapped counter, and adds 26 hours to them."""

VERIFY = TlsSettings()
PACKAGE = str(Path(__file__).parents[1])
RtspTransport = Literal["auto", "tcp", "udp"]
RTSP_OPTIONS: dict[RtspTransport, dict[str, str]] = {
    "auto": {"rtsp_flags": "prefer_tcp"},
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
}

RTSP_PROBE = {"analyzeduration": "500000"}
"""FFmpeg reads half a second of a camera to estimate its rate; a camera states its codec. FFmpeg's
own limit is five seconds, of which a camera with 8 frames a second took 3.7."""

OPEN_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 5.0
PICTURE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

TRANSPORT_STREAM_SUFFIXES = frozenset({".ts", ".mts", ".m2ts"})
PLAYLIST_FORMATS = ("hls",)
"""These demuxers fetch every variant and language that is not discarded."""

FFMPEG_BOUNDS_REDIRECTS = av.library_versions["libavformat"] >= (62, 12)
"""Whether `max_redirects` is known, without which redirects of HTTP are followed before FFmpeg sees
the address, and whether a redirect of RTSP must be among the protocols that are allowed."""

NO_REDIRECTS = {"max_redirects": "0"}
NEW_CONNECTIONS = {"http_persistent": "0", "http_multiple": "0"}
"""FFmpeg keeps connections of playlists open only for files that it opens itself."""


def refuse_missing(path: Path) -> None:
    """Raise SourceNotFoundError where there is no file or folder of this name."""
    if not path.exists():
        raise SourceNotFoundError(f"cannot open {path}: no such file; check the path")


def open_file(
    path: Path, limits: VideoLimits = DEFAULT_LIMITS, hwaccel: HWAccel | None = None
) -> InputContainer:
    """Open a local file; no other is read on its behalf. `hwaccel` decodes it if it can.

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
        return _open_local(path, limits, hwaccel)
    except EndOfFileError as error:
        # FFmpeg does not recognise a transport stream of ten packets by its content.
        if path.suffix.lower() in TRANSPORT_STREAM_SUFFIXES:
            with contextlib.suppress(FFmpegError):
                return _open_local(path, limits, hwaccel, "mpegts")
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


def _open_local(
    path: Path, limits: VideoLimits, hwaccel: HWAccel | None, kind: str | None = None
) -> InputContainer:
    """Open a file in the format that FFmpeg detects, or in the given one."""
    # The prefix keeps a name such as "10:30.mp4" from being taken for a protocol.
    options = {**FILE_OPTIONS, **KEEP_TIMESTAMPS}
    place = f"file:{path.absolute()}"
    return open_media(place, kind, limits, container_options=options, hwaccel=hwaccel)


def open_media(
    place: str | BytesIO,
    kind: str | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    hwaccel: HWAccel | None = None,
    **options: Any,
) -> InputContainer:
    """Open for reading; tags that are not UTF-8 are tolerated.

    Raises:
        OptionError: the device of `hwaccel` was named by the user and cannot decode.
    """
    if PROBES_WITH_OPTIONS:  # FFmpeg decodes a few frames to tell what a stream holds
        options["options"] = limits.decoder_options
    try:
        return av.open(place, "r", kind, metadata_errors="replace", hwaccel=hwaccel, **options)
    except RuntimeError as error:
        if hwaccel is None or isinstance(error, FFmpegError):
            raise
        raise refuse_device() from error


def read_packets(container: InputContainer, *streams: VideoStream) -> Iterator[Packet]:
    """Packets of these streams, or of all; at the end an empty one of each flushes its decoder."""
    while True:
        try:
            yield from container.demux(*streams)
            return
        except IndexError:  # PyAV fails on packets of a stream that appeared after opening
            continue


@contextmanager
def translate_pyav_errors(name: str) -> Iterator[None]:
    """Raise what PyAV fails with in the block as a NotAVideoError that names this source.

    Damaged files have values that PyAV does not expect, and the exceptions cannot be listed.
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
    """Whether an error arose in PyAV, which is compiled: its traceback has short file names."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    last_of_ours = max((n for n, file in enumerate(files) if file.startswith(PACKAGE)), default=-1)
    return any(file.startswith("av/") for file in files[last_of_ours + 1 :])


def network_timeouts() -> tuple[float, float]:
    """Seconds to wait for a silent server: while opening, and while reading."""
    return OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS


def open_url(
    url: str,
    rtsp_transport: RtspTransport = "auto",
    limits: VideoLimits = DEFAULT_LIMITS,
    allowance: Allowance | None = None,
    hwaccel: HWAccel | None = None,
    tls: TlsSettings = VERIFY,
) -> InputContainer:
    """Open a network stream within a bounded time.

    Args:
        url: begins with its scheme and two slashes.
        rtsp_transport: what RTSP sends video over; "auto" takes UDP if the server refuses TCP.
        allowance: which addresses may be opened, if others than the user chose them; None for any.
        hwaccel: decodes it if it can. tls: how certificates of HTTPS and RTSPS are verified.

    Raises:
        SourceUnreachableError: nobody answers, or the server refuses.
        CertificateError: the server's certificate does not verify.
        NotAVideoError: the server sends something else than video, or may not be asked.
        MissingPackageError: FFmpeg was built without this protocol, for instance without srt.
    """
    shown, name, allowed_options = url, None, {}
    if allowance is not None:
        url, name, allowed_options = _pin(url, allowance, tls)
    scheme, rest = url.split("://", 1)
    scheme = scheme.lower()  # FFmpeg knows them in small letters only
    kind = scheme.removesuffix("s")
    options = {**KEEP_TIMESTAMPS, **NETWORK_OPTIONS[kind], **allowed_options}
    options |= tls.list_ffmpeg_options(scheme, name)
    if kind == "rtsp":
        options |= RTSP_OPTIONS[_choose_transport(shown, rtsp_transport, allowance)] | RTSP_PROBE
    if kind == "http" and rest.lower().endswith(PICTURE_ENDINGS):
        # FFmpeg would take an address with this ending for a numbered sequence of pictures, and
        # replace each % in it by numbers.
        rest += "&" if "?" in rest else "?"
    address = f"{scheme}://{rest}"
    try:
        if kind == "http" and allowance is None:
            return _open_http(address, options, limits, hwaccel, tls)
        return _open_network(address, options, limits, hwaccel)
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
        if isinstance(error, InputOutputError):
            refusal = tls.explain_refusal(shown, address, name, READ_TIMEOUT_SECONDS)
            if refusal is not None:
                raise refusal from error
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


def _pin(url: str, allowance: Allowance, tls: TlsSettings) -> tuple[str, str, dict[str, str]]:
    """An allowed address with the host's IP, its host name, and options that forbid redirects."""
    kind = url.split("://", 1)[0].lower().removesuffix("s")
    if kind in ("http", "rtsp") and not FFMPEG_BOUNDS_REDIRECTS:
        raise MissingPackageError(
            f"cannot open {hide_password(url)}: this PyAV follows redirects anywhere; update it"
        )
    if kind != "http":
        pinned = allowance.pin(url)
        return pinned.address, pinned.name, {}
    try:
        pinned = allowance.follow(url, READ_TIMEOUT_SECONDS, tls)
    except CertificateError:
        raise
    except OSError as error:
        raise SourceUnreachableError(
            f"cannot reach {hide_password(url)}: {error}; check the address and that the server "
            "runs"
        ) from error
    options = {**NO_REDIRECTS, "headers": f"Host: {pinned.host}\r\n"}
    return pinned.address, pinned.name, options


def _choose_transport(
    shown: str, asked: RtspTransport, allowance: Allowance | None
) -> RtspTransport:
    """TCP for a camera that somebody else chose: over UDP it may have packets sent to anybody."""
    if allowance is None:
        return asked
    if asked == "udp":
        raise OptionError(
            f"cannot read {hide_password(shown)} over UDP, expected TCP: a camera may name any "
            "machine for packets to go to; leave rtsp_transport out"
        )
    return "tcp"


def _open_http(
    address: str,
    options: dict[str, str],
    limits: VideoLimits,
    hwaccel: HWAccel | None,
    tls: TlsSettings,
) -> InputContainer:
    """Open what an HTTP server sends; follow redirects and playlists as far as `Reach` allows."""
    files = HttpFiles(address, READ_TIMEOUT_SECONDS, tls)
    options = {**options, **NO_REDIRECTS}
    if not FFMPEG_BOUNDS_REDIRECTS:
        address = _follow(files, address)
    try:
        return _open_answer(address, options, files, limits, hwaccel)
    except ArgumentError:  # none of `FORMATS`: perhaps a playlist
        options = {**options, **NEW_CONNECTIONS, "format_whitelist": f"{PLAYLIST},{FORMATS}"}
        end = _follow(files, address)
        return _open_network(end, options, limits, hwaccel, io_open=files.open)


def _open_answer(
    address: str,
    options: dict[str, str],
    files: HttpFiles,
    limits: VideoLimits,
    hwaccel: HWAccel | None,
) -> InputContainer:
    """Open what an address sends, or the end of its redirects."""
    try:
        return _open_network(address, options, limits, hwaccel)
    except InputOutputError:  # FFmpeg raises this for a redirect, too
        end = _follow(files, address)
        if end == address:
            raise
    return _open_network(end, options, limits, hwaccel)


def _open_network(
    address: str,
    options: dict[str, str],
    limits: VideoLimits,
    hwaccel: HWAccel | None,
    **more: Any,
) -> InputContainer:
    more |= {"container_options": options, "timeout": network_timeouts(), "hwaccel": hwaccel}
    return open_media(address, None, limits, **more)


def _follow(files: HttpFiles, address: str) -> str:
    """The address that redirects lead to; the given address while no server answers."""
    try:
        return files.find_end()
    except (OSError, HTTPException, ValueError):
        return address


def choose_stream(
    container: InputContainer, name: str, limits: VideoLimits = DEFAULT_LIMITS
) -> VideoStream:
    """Pick the video: the first stream that the container marks as default, else the first.

    Cover art is not video. The other streams of a playlist are not fetched from then on.

    Raises:
        NoVideoStreamError: the container has streams, but none of video.
        EmptyVideoError: it has no streams at all.
        NotAVideoError: there is no decoder for the stream.
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
    # Later pictures may be larger; the decoder refuses them before it allocates memory.
    stream.codec_context.options = limits.decoder_options
    if container.format.name in PLAYLIST_FORMATS:
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
    return stream
