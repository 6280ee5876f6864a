"""Open files, network streams and cameras with PyAV; turn its failures into ours."""

import contextlib
import os
import sys
from errno import EPROTONOSUPPORT
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer
from av.error import EOFError as EndOfFileError
from av.error import ExitError, FFmpegError, InvalidDataError, ProtocolNotFoundError
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from co3d.errors import (
    CameraError,
    EmptyVideoError,
    MissingPackageError,
    NotAVideoError,
    NoVideoStreamError,
    SourceNotFoundError,
    SourceUnreachableError,
)
from co3d.video.address import hide_password, needs_encoding
from co3d.video.picture import check_picture_size

# Settings go to `container_options`: with `options`, PyAV before 18 crashes when a stream appears
# while the file is being opened, as in a damaged .flv.

KEEP_TIMESTAMPS = {"correct_ts_overflow": "0"}
"""FFmpeg takes times behind the first for a counter that wrapped, and adds 26 hours to them."""

RtspTransport = Literal["auto", "tcp", "udp"]
RTSP_OPTIONS: dict[RtspTransport, dict[str, str]] = {
    "auto": {"rtsp_flags": "prefer_tcp"},
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
}

OPEN_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 5.0
PICTURE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

TRANSPORT_STREAM_SUFFIXES = frozenset({".ts", ".mts", ".m2ts"})
PLAYLIST_FORMATS = ("hls", "dash")
"""They fetch every variant and language that is not discarded."""

TEXT_ART_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})
"""FFmpeg takes any file whose name ends in .txt for a film in terminal characters."""


def open_file(path: Path) -> InputContainer:
    """Open a local file; nothing but local files is read on its behalf.

    Raises:
        SourceNotFoundError: there is no such file, or it may not be read.
        EmptyVideoError: the file holds nothing.
        NotAVideoError: no demuxer understands it.
    """
    if not path.exists():
        raise SourceNotFoundError(f"cannot open {path}: no such file; check the path")
    if not path.is_file():
        raise NotAVideoError(f"cannot open {path}: not a regular file; name a video file")
    if not os.access(path, os.R_OK):
        raise SourceNotFoundError(f"cannot open {path}: no permission to read; change its mode")
    if path.stat().st_size == 0:
        raise EmptyVideoError(f"cannot read {path}: the file has 0 bytes; fetch it again")
    try:
        return _open_local(path)
    except EndOfFileError as error:
        # FFmpeg does not know a transport stream of ten packets by its content.
        if path.suffix.lower() in TRANSPORT_STREAM_SUFFIXES:
            with contextlib.suppress(FFmpegError):
                return _open_local(path, "mpegts")
        raise EmptyVideoError(
            f"cannot read {path}: it ends before its first frame; fetch it again"
        ) from error
    except FFmpegError as error:
        raise NotAVideoError(
            f"cannot read {path}: no demuxer understands it ({error.strerror}); expected a video "
            "file that is complete, such as .mp4 or .mkv"
        ) from error


def _open_local(path: Path, kind: str | None = None) -> InputContainer:
    """Open a file as FFmpeg finds it to be, or as of this kind."""
    # The prefix keeps a name such as "10:30.mp4" from being taken for a protocol.
    options = {"protocol_whitelist": "file", **KEEP_TIMESTAMPS}
    return open_media(f"file:{path.absolute()}", kind, container_options=options)


def open_media(place: str | BytesIO, kind: str | None = None, **options: Any) -> InputContainer:
    """Open for reading; a tag that is not UTF-8 must not keep anybody from the frames."""
    return av.open(place, "r", kind, metadata_errors="replace", **options)


def network_timeouts() -> tuple[float, float]:
    """How long to wait for a server that says nothing, while opening and while reading, in s."""
    return OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS


def open_url(url: str, rtsp_transport: RtspTransport = "auto") -> InputContainer:
    """Open a network stream within a bounded time.

    Args:
        url: begins with its scheme and two slashes.
        rtsp_transport: what RTSP sends video over; "auto" takes UDP where the server refuses TCP.

    Raises:
        SourceUnreachableError: nobody answers, or the answer is a refusal.
        NotAVideoError: the server answers with something else than video.
        MissingPackageError: FFmpeg was built without this protocol, as without srt.
    """
    scheme, rest = url.split("://", 1)
    scheme = scheme.lower()  # FFmpeg knows them in small letters only
    options = dict(KEEP_TIMESTAMPS)
    if scheme in ("rtsp", "rtsps"):
        options |= RTSP_OPTIONS[rtsp_transport]
    if scheme in ("http", "https") and rest.lower().endswith(PICTURE_ENDINGS):
        rest += "?"  # else FFmpeg goes by the ending, and % in the address means numbers to it
    try:
        return open_media(
            f"{scheme}://{rest}", container_options=options, timeout=network_timeouts()
        )
    except ProtocolNotFoundError as error:
        raise MissingPackageError(
            f"cannot read {hide_password(url)}: this build of PyAV has no {scheme}; send it on, "
            f"with `ffmpeg -i ADDRESS -c copy -f mpegts udp://127.0.0.1:5000`, and read that"
        ) from error
    except FFmpegError as error:
        if scheme in ("http", "https") and isinstance(error, InvalidDataError):
            raise NotAVideoError(
                f"cannot read {hide_password(url)}: the server answers, but not with video; "
                "check the address"
            ) from error
        cause = "no answer in time" if isinstance(error, ExitError) else error.strerror
        advice = "check the address and that the server runs"
        if error.errno == EPROTONOSUPPORT and rtsp_transport != "auto":
            advice = f"the server does not send over {rtsp_transport}; let it choose (auto)"
        if scheme == "rtp":
            advice += "; formats with a number from 96 on need an .sdp file that describes them"
        if needs_encoding(url):
            advice += "; percent-encode the password (@ is %40, / is %2F, ? is %3F, # is %23)"
        raise SourceUnreachableError(
            f"cannot reach {hide_password(url)}: {cause}; {advice}"
        ) from error


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


def choose_stream(container: InputContainer, name: str) -> VideoStream:
    """Pick the video: the first stream that the container marks as default, else the first.

    Cover art is not video. Of a playlist nothing else is fetched from then on.

    Raises:
        NoVideoStreamError: the container has streams, but none of video.
        EmptyVideoError: it has no streams at all.
        NotAVideoError: the stream is text, has no decoder, or claims an absurd size.
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
    if stream.codec_context.name in TEXT_ART_CODECS:
        raise NotAVideoError(f"cannot read {name}: it is text; name a video file")
    check_picture_size(stream.codec_context.width, stream.codec_context.height, name)
    if container.format.name in PLAYLIST_FORMATS:
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
    return stream
