"""Write an H.264 video that plays even if writing is interrupted."""

import contextlib
import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream

from co3d.arguments import check_arguments
from co3d.errors import InputShapeError, OptionError, OutputError
from co3d.files import find_target, hide_as, replace
from co3d.partial_files import hold, name_partial
from co3d.pictures import check_picture
from co3d.video.aspect import SQUARE

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
TIME_BASE = Fraction(1, 90_000)
LONGEST_TICKS = round(1.5 * 3600 / TIME_BASE)
"""MP4 stores durations in 31 bits, which is 6.6 hours here."""

FRAGMENTED = {"movflags": "hybrid_fragmented", "frag_duration": "2000000"}
"""MP4 in fragments of two seconds plays as far as it was written; `close` turns it into an ordinary
MP4. Matroska plays as far as it was written anyway."""

CONTAINER_OPTIONS = {"mp4": FRAGMENTED, "mov": FRAGMENTED, "matroska": {}}

X264_OPTIONS = {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0:bframes=0"}
"""mbtree is off because it reads uninitialised memory, which makes files of equal videos differ.
B-frames are off because players drop them at the end of a fragmented MP4 with long frame
durations."""


class VideoWriter:
    """Write pictures with their timestamps to a video file.

    The file grows under a temporary name beside its final one (`.NAME.….part`) and is renamed by
    `close`; `abort` removes it. The context manager closes after success or Ctrl-C, and aborts
    after an error. After a crash the temporary file plays except for its last seconds. Pictures of
    odd size are padded with a copy of their last column or row.

    Args:
        path: ends in .mp4, .m4v, .mov or .mkv; `close` replaces an existing file and keeps its
            permissions. A link is followed.
        rate_hz: nominal frames per second, a hint for the encoder; timestamps decide.
        frames_between_keys: the most; None leaves it to the encoder. Few make seeking fast.
        sample_aspect_ratio: width of a pixel by its height, for players.
        keeps_unfinished: on `abort` or a full disk, keep the playable part under the final name.
        outlives_kill: keep a killed process's temporary file; else a later process that writes into
            the folder removes it.

    Raises:
        OutputError: the suffix is unknown, the folder is absent or may not be written, or `path` is
            a folder; later, when the disk is full.
        OptionError: `rate_hz` is not above zero.
    """

    @check_arguments()
    def __init__(
        self,
        path: str | Path,
        rate_hz: float,
        frames_between_keys: int | None = None,
        sample_aspect_ratio: Fraction = SQUARE,
        *,
        keeps_unfinished: bool = False,
        outlives_kill: bool = True,
    ) -> None:
        if not 0 < rate_hz < math.inf:
            raise OptionError(f"cannot write at {rate_hz} frames/s; choose a rate above 0")
        self.path = Path(path)
        self.frames_written = 0
        self._rate_hz = rate_hz
        self._frames_between_keys = frames_between_keys
        self._sample_aspect_ratio = sample_aspect_ratio
        self._keeps_unfinished, self._has_kept = keeps_unfinished, False
        self._stream: VideoStream | None = None
        self._shape: tuple[int, ...] = ()
        self._first_seconds = 0.0
        self._last_pts = -1
        self._has_failed = False
        self._target, self._partial = _create_partial(self.path, outlives_kill=outlives_kill)
        kind = FORMATS[self.path.suffix.lower()]
        place, options = f"file:{self._partial.absolute()}", CONTAINER_OPTIONS[kind]
        try:
            self._container = av.open(place, "w", format=kind, container_options=options)
        except FFmpegError as error:
            self._partial.unlink()
            raise self._failure(error) from error
        self._held = ExitStack()
        self._held.enter_context(hold(self._partial))
        self._open = True

    def write(self, image: np.ndarray, pts_seconds: float) -> None:
        """Add a picture.

        Args:
            image: (H, W, 3) uint8 RGB, of the same size every time.
            pts_seconds: when it is shown. The file starts at its first picture, whatever its time;
                a picture that is not later than the one before follows it at once, and none is
                shown for longer than an hour and a half.

        Raises:
            InputShapeError: the picture has another shape or type.
            OptionError: the time is not a finite number.
            OutputError: the writer is closed, or the disk is full, which aborts it.
        """
        if not self._open:
            raise OutputError(f"cannot write to {self.path}: it is closed; open a new one")
        if not math.isfinite(pts_seconds):
            raise OptionError(f"cannot write a frame at {pts_seconds} s; give a finite time")
        self._check_image(image)
        height, width = image.shape[:2]
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
        if self._stream is None:
            self._stream = self._add_stream(frame.width, frame.height)
            self._first_seconds = pts_seconds
        ticks = round((pts_seconds - self._first_seconds) / TIME_BASE)
        if ticks - self._last_pts > LONGEST_TICKS:
            ticks = self._last_pts + LONGEST_TICKS
            self._first_seconds = pts_seconds - float(ticks * TIME_BASE)
        self._last_pts = max(ticks, self._last_pts + 1)
        frame.pts, frame.time_base = self._last_pts, TIME_BASE
        try:
            self._mux(self._stream, frame)
        except (FFmpegError, OSError) as error:
            self.abort()
            raise self._failure(error) from error
        self.frames_written += 1

    def close(self) -> None:
        """Finish the file and rename it to its final name; without any picture, leave no file.

        Raises:
            OutputError: the file cannot be finished, for instance on a full disk; it is aborted.
        """
        if not self._open:
            return
        if self._stream is None:
            self.abort()
            return
        try:
            self._finish(self._stream)
            replace(self._target, self._partial)
        except (FFmpegError, OSError) as error:
            self.abort()
            raise self._failure(error) from error
        self._open = False
        self._held.close()

    def abort(self) -> None:
        """Remove what was written, or keep its playable part (`keeps_unfinished`).

        Without a playable picture, an existing file of the final name is left as it is.
        """
        if not self._open:
            return
        self._open = False
        # FFmpeg crashes when given packets for a file that it could not begin.
        with contextlib.suppress(FFmpegError, OSError):
            if self._stream is not None and self._keeps_unfinished and not self._has_failed:
                self._finish(self._stream)
        with contextlib.suppress(FFmpegError, OSError):
            self._container.close()
        if self._keeps_unfinished and _plays(self._partial):
            replace(self._target, self._partial)
            self._has_kept = True
        else:
            self._partial.unlink(missing_ok=True)
        self._held.close()

    def _finish(self, stream: VideoStream) -> None:
        self._mux(stream, None)
        self._container.close()

    def _mux(self, stream: VideoStream, frame: av.VideoFrame | None) -> None:
        packets = stream.encode(frame)
        try:
            self._container.mux(packets)
        except (FFmpegError, OSError):
            self._has_failed = True
            raise

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if getattr(self, "_open", False):  # garbage-collected without being closed
            self.abort()

    def _check_image(self, image: np.ndarray) -> None:
        check_picture(image, "write this image")
        if self._shape not in ((), image.shape):
            raise InputShapeError(
                f"cannot write this image: got shape {image.shape}, expected {self._shape} like "
                "the first; scale it first"
            )
        self._shape = image.shape

    def _add_stream(self, width: int, height: int) -> VideoStream:
        has_x264 = "libx264" in av.codecs_available
        rate = Fraction(self._rate_hz).limit_denominator(1001)
        stream = self._container.add_stream("libx264" if has_x264 else "mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.sample_aspect_ratio = self._sample_aspect_ratio
        if self._frames_between_keys is not None:
            stream.codec_context.gop_size = self._frames_between_keys
        if has_x264:
            stream.codec_context.options = X264_OPTIONS
        return stream

    def _failure(self, error: FFmpegError | OSError) -> OutputError:
        kept = "; it holds what was written before" if self._has_kept else ""
        return OutputError(
            f"cannot write {self.path}: {error.strerror}; free some space or choose another place"
            f"{kept}"
        )


def _plays(path: Path) -> bool:
    """Whether an interrupted video file has a picture that decodes."""
    try:
        with av.open(f"file:{path.absolute()}") as container:
            return next(container.decode(video=0), None) is not None
    except (FFmpegError, IndexError):
        return False


def check_video_path(path: Path) -> None:
    """Find out before the work that a suffix names a format that is written; OutputError."""
    if path.suffix.lower() not in FORMATS:
        raise OutputError(
            f"cannot write {path}: got suffix {path.suffix!r}, expected {', '.join(FORMATS)}"
        )


def _create_partial(path: Path, *, outlives_kill: bool) -> tuple[Path, Path]:
    """The file that `path` names or links to, and the temporary file created beside it."""
    check_video_path(path)
    target = find_target(path)
    partial = name_partial(target, ".part" if outlives_kill else ".partial")
    try:
        partial.touch(exist_ok=False)
        hide_as(partial, target)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists and is writable"
        ) from error
    return target, partial
