"""Open what is neither a file nor a server: pipes, cameras by their path, session descriptions."""

import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import EOFError as EndOfFileError
from av.error import ExitError, FFmpegError

from co3d.errors import EmptyVideoError, NotAVideoError, OptionError, SourceUnreachableError
from co3d.video.access import FILE_OPTIONS
from co3d.video.address import find_scheme
from co3d.video.container import KEEP_TIMESTAMPS, network_timeouts, open_media, refuse_missing
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits

STANDARD_INPUT = "-"
DEVICE_FOLDERS = ("/dev/video", "/dev/v4l/")
SESSION_SUFFIX = ".sdp"


def is_device(source: str) -> bool:
    """Whether a path names a camera device, present or not."""
    return source.startswith(DEVICE_FOLDERS) or Path(source).is_char_device()


def is_pipe(source: str) -> bool:
    """Whether a source is standard input ("-") or a FIFO.

    Raises OptionError if standard input is a keyboard.
    """
    if source != STANDARD_INPUT:
        return Path(source).is_fifo()
    if sys.stdin is not None and sys.stdin.isatty():
        raise OptionError(
            "cannot read a video from the terminal: got '-', expected a pipe or file on standard "
            "input, as in `… | co3d stream -`"
        )
    return True


def describe_namesake(camera: int | str) -> tuple[str, ...]:
    """The notice for a camera number that also names a file or folder."""
    if isinstance(camera, str) and Path(camera).exists():
        return (f"is a camera's number; the file or folder of this name is ./{camera}",)
    return ()


def resolve_file_url(source: str | int | Path) -> str | int | Path:
    """The path of a file:// address; other sources unchanged."""
    if not isinstance(source, str) or not source.lower().startswith("file:/"):
        return source
    address = urlsplit(source)
    if address.netloc not in ("", "localhost"):
        raise OptionError(
            f"cannot read {source}: got host {address.netloc!r}, expected file:///PATH"
        )
    return Path(url2pathname(address.path))


def require_file(source: str) -> None:
    """Check that a path exists without opening it; cameras and addresses are not checked.

    Raises:
        SourceNotFoundError: there is no file or folder of this name.
    """
    path = resolve_file_url(source)
    if isinstance(path, str):
        is_path = path.strip() and not path.isdecimal() and find_scheme(path) is None
        if path == STANDARD_INPUT or not is_path or is_device(path):
            return
    refuse_missing(Path(str(path)))


def open_pipe(
    source: str, limits: VideoLimits = DEFAULT_LIMITS, hwaccel: HWAccel | None = None
) -> InputContainer:
    """Open standard input ("-") or a FIFO; waits for its writer without a limit.

    Raises:
        EmptyVideoError: it ended before its first frame.
        NotAVideoError: no demuxer understands its data.
    """
    is_standard = source == STANDARD_INPUT
    place = "pipe:0" if is_standard else f"file:{Path(source).absolute()}"
    options = {**FILE_OPTIONS, **KEEP_TIMESTAMPS}
    if is_standard:
        options["protocol_whitelist"] = "pipe"
    name = name_pipe(source)
    try:
        return open_media(place, None, limits, container_options=options, hwaccel=hwaccel)
    except EndOfFileError as error:
        raise EmptyVideoError(
            f"cannot read {name}: it ended before its first frame; see what writes into it"
        ) from error
    except FFmpegError as error:
        raise NotAVideoError(
            f"cannot read {name}: no demuxer understands what came ({error.strerror}); write "
            "MPEG-TS or Matroska into it, or an MP4 whose index stands first"
        ) from error


def name_pipe(source: str) -> str:
    """The pipe's name in messages."""
    return "standard input" if source == STANDARD_INPUT else source


def open_session(
    path: Path, limits: VideoLimits = DEFAULT_LIMITS, hwaccel: HWAccel | None = None
) -> InputContainer:
    """Open an RTP session that an .sdp file describes.

    Raises:
        NotAVideoError: it describes no session.
        SourceUnreachableError: no packets arrive.
    """
    options = {"protocol_whitelist": "file,rtp,udp", **KEEP_TIMESTAMPS}
    nothing = "expected lines such as `m=video 5004 RTP/AVP 96`"
    try:
        container = open_media(
            f"file:{path.absolute()}",
            "sdp",
            limits,
            container_options=options,
            timeout=network_timeouts(),
            hwaccel=hwaccel,
        )
    except ExitError as error:
        raise SourceUnreachableError(
            f"cannot reach what {path} describes: nobody sends; check the sender's address and port"
        ) from error
    except FFmpegError as error:
        raise NotAVideoError(
            f"cannot read {path}: it describes no session ({error.strerror}); {nothing}"
        ) from error
    if not container.streams:
        container.close()
        raise NotAVideoError(f"cannot read {path}: it describes no session; {nothing}")
    return container
