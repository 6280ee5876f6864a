"""`read_video`: frames of any source, at the rate that a network expects."""

import math
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from co3d.arguments import check_arguments
from co3d.errors import OptionError
from co3d.files import make_folder
from co3d.sandbox import find_sandbox
from co3d.video.allowance import Allowance
from co3d.video.certificates import TlsMode, TlsSettings
from co3d.video.container import RtspTransport, translate_pyav_errors
from co3d.video.continuity import Continuity
from co3d.video.damage import Damage
from co3d.video.every_frame import HELD_BYTES, EveryFrame
from co3d.video.frame import VideoFrame
from co3d.video.framing import Crop, Flip, Framing
from co3d.video.hardware import check_decode
from co3d.video.inputs import resolve_file_url
from co3d.video.irregularities import Irregularities
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.packet_ring import PacketRing
from co3d.video.picture import DecodedFrame, convert_frames
from co3d.video.recording import Recorder
from co3d.video.sandboxed_source import open_in_sandbox
from co3d.video.source import FrameSource
from co3d.video.source_state import StateListener
from co3d.video.sources import SourceRequest, open_source

Gap = Literal["keep", "reset"]


class VideoReader:
    """An open video: iterate over it once, close it or use it as a context manager.

    Frames come in presentation order and all have one size. After the last frame of a source that
    has lost frames, the iteration raises DamagedVideoError; when a live source is gone for good,
    SourceUnreachableError or CameraError.

    Attributes:
        is_live: frames arrive as they are captured.
        source_rate_hz: frames per second of the source, None if unknown.
        rate_hz: the rate that frames are sampled to; None when all are delivered.
        gap: what happens at a gap; see `read_video`.
        framing: how pictures are turned, mirrored and cropped.
        recorder: of the source's packets; None where they are not recorded.
        ring: of the source's latest packets; None where they are not kept.
        drops_late: whether frames are dropped when the consumer is late.
        can_open_again: whether the source sends the same frames to another reader, so that
            `hold_every_frame` can always deliver them all.
        width, height: of every picture, in pixels.
        sample_aspect_ratio: width of a pixel divided by its height. Players stretch pictures for
            which it is not 1; networks see them as stored.
        frame_count, duration_seconds: of the source, estimated; None if unknown.
    """

    def __init__(
        self,
        source: FrameSource,
        rate_hz: float | None,
        gap: Gap,
        framing: Framing,
        recorder: Recorder | None,
        ring: PacketRing | None,
        *,
        drops_late: bool,
        open_again: Callable[..., "VideoReader"] | None,
        notices: tuple[str, ...],
    ) -> None:
        self._source = source
        self._open_again = open_again
        self._frames: Iterator[VideoFrame] | None = None
        self._every_frame: EveryFrame | None = None
        self._reading = threading.Lock()
        self._closed = self._is_free = False
        self._name = source.info.name
        self._opening_notices = notices
        self._notices: list[str] = []
        self._slowness = ""
        self.is_live = source.info.is_live
        self.drops_late = drops_late and source.info.is_live
        self.can_open_again = open_again is not None and not source.info.is_live
        self.source_rate_hz = source.info.rate_hz
        self.rate_hz = rate_hz
        self.gap: Gap = gap
        self._continuity = Continuity(rate_hz, source.pace, source.info.make_pace())
        self.framing = framing
        self.recorder, self.ring = recorder, ring
        self.width, self.height = framing.size_of(
            source.info.width, source.info.height, source.info.name
        )
        self.sample_aspect_ratio = framing.orientation.aspect_of(source.info.sample_aspect_ratio)
        self.frame_count = source.info.frame_count
        self.duration_seconds = source.info.duration_seconds

    @property
    def dropped_frames(self) -> int:
        """Frames of a live source dropped so far because the consumer was late."""
        return self._source.dropped_frames

    @property
    def elsewhere_seconds(self) -> float:
        """CPU seconds so far of the process that decodes, if it is not this one."""
        return self._source.elsewhere_seconds

    @property
    def irregularities(self) -> Irregularities:
        """How often the source's clock jumped back and its pictures changed size so far."""
        return self._source.irregularities

    @property
    def notices(self) -> tuple[str, ...]:
        """What is odd about the source's time or its recording so far, as sentences.

        Each appears once and stays, oldest first.
        """
        recorded = self.recorder.notices if self.recorder else ()
        kept = self.ring.notices if self.ring else ()
        told = (*self._opening_notices, *self._source.notices, *recorded, *kept)
        said = [f"{self._name} {notice}" for notice in told]
        said += [self._slowness] if self._slowness else []
        if self._every_frame is not None and self._every_frame.exceeded_limit:
            said.append(
                f"{self._name} is decoded twice: its frames up to the one that is described take "
                f"more than {HELD_BYTES / 2**20:.0f} MB"
            )
        self._notices += [notice for notice in said if notice not in self._notices]
        return tuple(self._notices)

    @property
    def damage(self) -> Damage | None:
        """What the source lost; known once the iteration has ended."""
        return self._source.damage

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        with self._reading:
            try:
                if self._closed:
                    raise StopIteration
                if self._frames is None:
                    frames = self._source.frames(
                        self.rate_hz,
                        fill_gaps=self.gap == "keep",
                        on_decoded=None if self._every_frame is None else self._every_frame.hold,
                    )
                    self._frames = self.framing.apply(frames)
                with translate_pyav_errors(self._name):
                    frame = next(self._frames)
                if self._closed:  # meanwhile, by a signal handler or another thread
                    raise StopIteration
            except BaseException:
                self._closed = True
                self._free()
                raise
            frame = self._continuity.mark(frame)
            if frame.is_undersampled and not self._slowness:
                self._slowness = self._describe_slowness()
            return frame

    def stop(self) -> None:
        """End the iteration soon, without waiting for anything; `close` must still be called."""
        self._closed = True
        self._source.stop()

    def close(self) -> None:
        """End the iteration and free the source: at once, from any thread, or twice."""
        self.stop()
        if self._reading.acquire(blocking=False):  # else `__next__` frees it on its way out
            try:
                self._free()
            finally:
                self._reading.release()

    def hold_every_frame(self, reconnect_seconds: float | None = None) -> EveryFrame:
        """All frames of the source, as this reader decodes them; call it before iterating.

        Args:
            reconnect_seconds: as for `read_video`, if the source must be decoded a second time.

        Raises:
            OptionError: the source cannot be opened again; see `can_open_again`.
        """
        if self._open_again is None or not self.can_open_again:
            raise OptionError(f"cannot hold all of {self._name}: its frames come once; keep them")
        open_again = partial(self._open_again, reconnect_seconds=reconnect_seconds)
        twice = not self._source.shows_decoded
        self._every_frame = EveryFrame(self._convert, open_again, decodes_twice=twice)
        return self._every_frame

    def _convert(self, decoded: DecodedFrame) -> VideoFrame:
        info = self._source.info
        return next(self.framing.apply(convert_frames((decoded,), info.width, info.height)))

    def _free(self) -> None:
        if self._is_free:  # another reader may already use the ring
            return
        self._is_free = True
        self._source.close()
        for tap in filter(None, (self.recorder, self.ring)):
            tap.close()

    def _describe_slowness(self) -> str:
        pictures = f"{self._continuity.pictures_per_second:.2g} new pictures a second"
        if self.dropped_frames and not self._continuity.is_source_slow:
            return (
                f"{self._name} came faster than it was processed, and {self.dropped_frames} frames "
                f"were dropped: the network sees {pictures} where {self.rate_hz:g} are expected, "
                "and labels of movements are not reliable; choose a smaller network, or smaller "
                "pictures at the source"
            )
        return (
            f"{self._name} has {pictures} where {self.rate_hz:g} are expected: most of what the "
            "network sees are repeats, and labels of movements are not reliable; raise its rate"
        )

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()


@check_arguments(crop="give x, y, width and height in whole pixels")
def read_video(
    source: str | int | Path,
    *,
    rate_hz: float | None = None,
    policy: Literal["latest", "every"] | None = None,
    gap: Gap | None = None,
    queue_frames: int = 8,
    reconnect_seconds: float | None = None,
    folder_rate_hz: float = 30.0,
    rotate: int = 0,
    flip: Flip | None = None,
    crop: Crop | None = None,
    record: str | Path | None = None,
    record_seconds: float = 60.0,
    ring: PacketRing | None = None,
    rtsp_transport: RtspTransport = "auto",
    poll_hz: float | None = None,
    on_state: StateListener | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    decoder_threads: int | None = None,
    decodes_ahead: bool = True,
    allowance: Allowance | None = None,
    decode: str = "cpu",
    tls: TlsMode = "verify",
    ca_file: str | Path | None = None,
) -> VideoReader:
    """Open a video and return a reader of its frames.

    Args:
        source: a video file; a folder of pictures of one size, in natural order of their names; the
            number of a camera (0 or "0") or its path (/dev/video0, /dev/v4l/by-id/…); a FIFO, or
            "-" for standard input; an .sdp file; or an address that starts with file, http, https,
            rtmp, rtmps, rtp, rtsp, rtsps, srt or udp. An address that answers with one picture is
            requested repeatedly.
        rate_hz: sample to this steady rate by timestamp (see `co3d.video.sampling`); None delivers
            every frame.
        policy: what a live source does when the consumer is late: "latest" (the default) drops
            what cannot be decoded or delivered in time, "every" lets the source wait. Files, local
            or remote, always wait; so do pipes unless told "latest", and those with a duration.
        gap: what happens at a gap in the source's time while sampling. "keep" holds the picture
            before it, for at most 60 s (10 s for a live source). "reset" repeats nothing: the next
            frame comes at once, and the network should be reset before it. The frame's
            `gap_seconds` is set either way. None means "reset" for live sources, "keep" for files.
        queue_frames: the most frames of a camera or network stream in the queue.
        reconnect_seconds: how long a network stream that is absent or broke off is retried (see
            `co3d.video.back_off`); 0 tries once. None retries for ever, but for 30 s where a remote
            recording broke off. Ctrl-C interrupts an attempt at once.
        folder_rate_hz: frames per second of a folder of pictures.
        rotate, flip, crop: applied to upright pictures in this order: turned by 90, 180 or
            270 degrees clockwise; mirrored, "horizontal" (left and right) or "vertical"; cut to
            (x, y, width, height) in pixels (see `co3d.video.framing`).
        record: a folder, made if absent, for the video's packets, not re-encoded: Matroska files
            that each play alone (see `co3d.video.recording`). Frames that are dropped because the
            consumer is late are still recorded.
        record_seconds: length of such a file; it ends at the next key frame.
        ring: keeps the latest packets in memory, unless they are recorded; folders have none.
        rtsp_transport: what RTSP sends video over: "tcp", "udp", or "auto", which takes UDP where
            the server refuses TCP.
        poll_hz: the most requests a second to an address that answers with one picture; None means
            `rate_hz`, or 5 where that is None. A picture that has not changed counts once.
        on_state: called with the state of a camera or network stream (`SourceState`), in the
            thread that calls `read_video` or iterates: before each frame, and every 0.2 s while
            none arrives. An exception that it raises ends the iteration.
        limits: on pixels, frames, time and bytes of the source.
        decoder_threads: of the decoder; None for one per core, which is best for one source. Many
            sources share the cores better with one thread each.
        decodes_ahead: whether a live source is decoded in a thread of its own. False saves that
            thread (one still reads packets), for callers that take every frame at once, as
            `Track.follow` does.
        allowance: which addresses may be opened; with one, no files, devices or pipes may.
        decode: "cpu"; a kind of device that must decode ("cuda", "vaapi", "videotoolbox", …); or
            "auto" for the first device that can, else the CPU, which is said in `notices`. Pixels
            decoded by a device may differ from the CPU's. Folders of pictures are decoded by the
            CPU.
        tls: "verify" refuses https and rtsps sources whose certificate is not signed by a trusted
            authority, has expired, or names another host; "off" accepts any certificate.
        ca_file: PEM file of the authorities to trust, or of a camera's own certificate; None for
            the system's (`SSL_CERT_FILE`, OpenSSL's, or the package certifi's).

    Raises:
        OptionError: an argument has a value that cannot work, `crop` is outside of the picture, or
            the device that `decode` names is not there or has no decoder for the video.
        OutputError: `record` cannot be made.
        SourceNotFoundError, NotAVideoError, NoVideoStreamError, EmptyVideoError: of files.
        SourceUnreachableError: nobody answered at the address in `reconnect_seconds` (an attempt
            takes 10 s at most), or the server refuses the user.
        CertificateError: its certificate does not verify.
        CameraError: the camera is absent or busy.
        VideoLimitError: the source exceeds `limits`; some are only exceeded later.
        SandboxError: inside `co3d.read_in_sandbox`, the process that decodes died, now or later.
    """
    _check_positive(rate_hz=rate_hz, folder_rate_hz=folder_rate_hz, poll_hz=poll_hz)
    if not 0 < record_seconds < math.inf:
        raise OptionError(f"record_seconds is {record_seconds}, expected above 0; choose 60, say")
    check_decode(decode)
    framing = Framing(rotate, flip, crop)
    recorder: Recorder | None = None
    if record is not None:
        make_folder(Path(record))
        recorder, ring = Recorder(Path(record), record_seconds), None
    if isinstance(source, str) and not source.strip():
        raise OptionError("cannot read a source without a name: got '', expected a file or address")
    if policy not in (None, "latest", "every"):
        raise OptionError(f"cannot read with policy {policy!r}; choose 'latest' or 'every'")
    if gap not in (None, "keep", "reset"):
        raise OptionError(f"cannot read with gap {gap!r}; choose 'keep' or 'reset'")
    request = SourceRequest(
        resolve_file_url(source),
        drops_late=None if policy is None else policy == "latest",
        queue_frames=queue_frames,
        reconnect_seconds=reconnect_seconds,
        folder_rate_hz=folder_rate_hz,
        rtsp_transport=rtsp_transport,
        poll_hz=poll_hz or rate_hz,
        limits=limits,
        decoder_threads=decoder_threads,
        decodes_ahead=decodes_ahead,
        allowance=allowance,
        decode=decode,
        tls=TlsSettings(tls, None if ca_file is None else str(ca_file)),
    )
    sandbox = find_sandbox()
    if sandbox is None:
        tap = ring.open_tap() if ring is not None else recorder
        opened = open_source(request, tap, on_state)
    else:
        opened = open_in_sandbox(sandbox, request, recorder or ring, on_state)
    open_again = partial(
        read_video,
        request.source,
        folder_rate_hz=folder_rate_hz,
        rtsp_transport=rtsp_transport,
        limits=limits,
        allowance=allowance,
        decode=decode,
        tls=tls,
        ca_file=ca_file,
        **vars(framing),
    )
    try:
        gap = gap or ("reset" if opened.source.info.is_live else "keep")
        return VideoReader(
            opened.source,
            rate_hz,
            gap,
            framing,
            recorder,
            ring,
            drops_late=policy != "every",
            open_again=None if opened.comes_once else open_again,
            notices=opened.notices,
        )
    except OptionError:
        opened.source.close()
        if recorder is not None:
            recorder.close()
        raise


def _check_positive(**rates_hz: float | None) -> None:
    for name, rate_hz in rates_hz.items():
        if rate_hz is not None and not 0 < rate_hz < math.inf:
            raise OptionError(f"{name} is {rate_hz}, expected a rate above 0; choose 8, say")
