"""Random access to the frames of a video file, equal to what playing it to there would give."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
from av.error import EOFError as EndOfFileError
from av.error import FFmpegError
from av.packet import Packet

from co3d.errors import DamagedVideoError, EmptyVideoError
from co3d.video.container import choose_stream, open_file, read_packets, translate_pyav_errors
from co3d.video.cuts import CutPackets
from co3d.video.damage import END_SLACK_SECONDS, ONE_PICTURE_PER_PACKET
from co3d.video.decoder import read_metadata
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.orientation import read_orientation
from co3d.video.picture import to_rgb
from co3d.video.turns import decoding_turns

KEYS_TRIED = 3
"""Some containers seek by decoding time, and so may land one or two key frames off."""


class UnseekableError(Exception):
    """The packets do not say when frames are shown, so the video must be played from its start."""


class SeekableVideo:
    """A video file as a `IndexedVideo`.

    Opening it reads the times of all frames from the packets, without decoding any. A clip is then
    decoded from the last key frame before it, or from where the last clip ended if that is nearer.

    Args:
        path: the file.
        threads: of the decoder; 0 takes one per core.
        limits: of pixels and frames.

    Raises:
        SourceNotFoundError, NotAVideoError, NoVideoStreamError, EmptyVideoError: it is no video.
        DamagedVideoError: its end is missing.
        VideoLimitError: it is larger than `limits` allow.
        UnseekableError: it must be played from its start.
    """

    def __init__(self, path: Path, threads: int = 0, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._path = path
        self._threads = threads
        self._cursor: _Cursor | None = None
        self._open()
        try:
            self._read_index()
        except BaseException:
            self._container.close()
            raise

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 RGB; see `IndexedVideo.read`."""
        with translate_pyav_errors(str(self._path)):
            try:
                return self._read(indices)
            except DamagedVideoError:
                if self._threads == 1:
                    raise
            # With several decoder threads a failure is reported late, for another frame. One
            # thread alone shows which frames are damaged.
            self._threads = 1
            self._reopen()
            return self._read(indices)

    def close(self) -> None:
        """Close the file."""
        self._cursor = None  # a reference cycle, which would keep the last frames in memory
        self._container.close()

    def _open(self) -> None:
        self._container = open_file(self._path, self._limits)
        try:
            self._stream = choose_stream(self._container, str(self._path), self._limits)
        except BaseException:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._threads
        self._size = (self._stream.codec_context.width, self._stream.codec_context.height)

    def _reopen(self) -> None:
        self._cursor = None
        self._container.close()
        self._open()

    def _read_index(self) -> None:
        metadata = read_metadata(self._container, self._stream)
        self._is_exact = metadata.codec in ONE_PICTURE_PER_PACKET
        cuts = CutPackets(self._container.format.name)
        self._order: dict[int, int] = {}  # time -> place in the order of decoding
        pts: list[int] = []
        keys: set[int] = set()
        end_seconds, last_dts = 0.0, None
        interruption: FFmpegError | None = None
        try:
            for packet in read_packets(self._container):
                if packet.pts is not None and packet.time_base is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    end_seconds = max(end_seconds, float(end))
                if packet.stream_index != self._stream.index or not packet.size:
                    continue
                if packet.pts is None or packet.dts is None:
                    raise UnseekableError
                if last_dts is not None and packet.dts < last_dts:  # the clock was reset
                    raise UnseekableError
                last_dts = packet.dts
                if (cut := cuts.find(packet)) is not None:
                    self._refuse_cut(cut)
                self._order[packet.pts] = len(self._order)
                self._limits.check_frames(len(self._order), str(self._path))
                if packet.is_keyframe:
                    keys.add(packet.pts)
                if not packet.is_discard:
                    pts.append(packet.pts)
        except FFmpegError as error:
            interruption = error
        if (cut := cuts.find_rest()) is not None:
            self._refuse_cut(cut)
        if not pts:
            raise EmptyVideoError(f"cannot read {self._path}: it holds no frame; fetch it again")
        stated = metadata.end_seconds
        if interruption or (stated is not None and stated - end_seconds > END_SLACK_SECONDS):
            expected = f"expected {stated:.2f} s" if stated is not None else "before its end"
            self._refuse(f"it breaks off at {end_seconds:.2f} s, {expected}")
        if len(set(pts)) != len(pts):
            raise UnseekableError
        self._pts = sorted(pts)
        self._keys = sorted(keys)
        self.rate_hz = metadata.rate_hz
        self._tick_seconds = float(metadata.time_base)
        self.times_seconds = np.array(self._pts) * self._tick_seconds

    def _read(self, indices: Sequence[int]) -> np.ndarray:
        cursor = self._move_to(self._pts[indices[0]])
        self._cursor = None  # until the read succeeds
        pictures: dict[int, np.ndarray] = {}
        for index in indices:
            if index not in pictures:
                pts = self._pts[index]
                pictures[index] = self._convert(cursor.advance(pts), pts)
        self._cursor = cursor
        return np.stack([pictures[index] for index in indices])

    def _move_to(self, target: int) -> "_Cursor":
        """A cursor whose newest frame is not after `target`."""
        last_key = bisect_right(self._keys, target) - 1
        if self._cursor and self._cursor.is_between(self._key_before(target), target):
            return self._cursor
        for key in range(last_key, max(last_key - KEYS_TRIED, -1), -1):
            try:
                self._container.seek(self._keys[key], stream=self._stream)
            except FFmpegError:  # the index is wrong: play it from its start
                break
            self._cursor = _Cursor(self._decode())
            if self._cursor.is_between(self._pts[0], target):
                return self._cursor
        self._reopen()
        self._cursor = _Cursor(self._decode())
        return self._cursor

    def _touches_failure(self, target: int) -> bool:
        first, last = self._order[self._key_before(target)], self._order[target]
        return any(first <= self._order.get(pts, last) <= last for pts in self._failed_pts)

    def _key_before(self, target: int) -> int:
        position = bisect_right(self._keys, target) - 1
        return self._keys[position] if position >= 0 else self._pts[0]

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Frames from here to the end; the times of those that fail to decode are recorded."""
        self._failed_pts: list[int] = []
        try:
            for packet in read_packets(self._container, self._stream):
                if packet.size:
                    yield from self._decode_packet(packet)
        except FFmpegError as error:
            self._refuse(f"it cannot be read on ({error.strerror})")
        yield from self._decode_packet(None)

    def _decode_packet(self, packet: Packet | None) -> Iterator[av.VideoFrame]:
        try:
            frames = decoding_turns.take(partial(self._stream.decode, packet))
        except EndOfFileError:  # the decoder was flushed before
            return
        except FFmpegError:
            self._failed_pts.append(self._pts[-1] if packet is None else packet.pts or 0)
            return
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None:
                self._failed_pts.append(frame.pts)
            yield frame

    def _convert(self, frame: av.VideoFrame | None, target: int) -> np.ndarray:
        """The picture of the frame that was chosen for a time; raises if it is another frame's."""
        seconds = target * self._tick_seconds
        if frame is None or frame.pts is None or frame.pts > target:
            self._refuse(f"no frame decodes at {seconds:.3f} s")
        is_lost = self._is_exact and frame.pts != target and not frame.interlaced_frame
        # After a picture that failed, decoders conceal errors until the next key frame.
        if is_lost or self._touches_failure(target):
            self._refuse(f"the frame at {seconds:.3f} s is lost")
        self._limits.check_picture(frame.width, frame.height, str(self._path))
        return to_rgb(frame, *read_orientation(frame).size_of(*self._size))

    def _refuse_cut(self, packet: Packet) -> NoReturn:
        seconds = float((packet.pts or 0) * (packet.time_base or 0))
        self._refuse(f"a packet at {seconds:.2f} s is cut")

    def _refuse(self, what: str) -> NoReturn:
        raise DamagedVideoError(f"{self._path} is damaged: {what}; fetch it again")


class _Cursor:
    """The newest frame at or before times that rise."""

    def __init__(self, frames: Iterator[av.VideoFrame]) -> None:
        self._frames = frames
        self.held = next(frames, None)
        self._next = next(frames, None)

    def is_between(self, first: int, last: int) -> bool:
        """Whether the newest frame lies between two times, both included."""
        pts = self.held.pts if self.held else None
        return pts is not None and first <= pts <= last

    def advance(self, target: int) -> av.VideoFrame | None:
        """The newest frame at or before a time, or the first there is."""
        while self._next is not None and (self._next.pts is None or self._next.pts <= target):
            self.held, self._next = self._next, next(self._frames, None)
        return self.held
