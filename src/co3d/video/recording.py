"""Record the packets of a source as they arrive, without re-encoding."""

import math
from datetime import datetime, timezone
from pathlib import Path

from av.error import FFmpegError

from co3d.video.packet_tap import PacketTap, Received
from co3d.video.segment import Segment

LONGEST_KEYLESS_SECONDS = 30.0
"""Cameras send a key frame every few seconds; one that sent none for this long may never do so."""

FAILURES = (FFmpegError, OSError, ValueError)


class Recorder(PacketTap):
    """Writes the packets of a source's video stream to a folder of files that each play alone.

    Each file begins with a key frame and ends before the first one after `segment_seconds`, or
    where the connection breaks. It is named when complete: for a live source by the UTC time at
    which its first packet arrived, otherwise by the time of its first frame in seconds. A file that
    cannot be written gives a notice, and the next is tried `segment_seconds` later.

    Args:
        folder: where to write; it exists.
        segment_seconds: the approximate length of a file.

    Attributes:
        notices: what went wrong, as predicates whose subject is the source.
        segments_written: the number of complete files.
        folder: where they are.
    """

    def __init__(self, folder: Path, segment_seconds: float) -> None:
        super().__init__()
        self.segments_written = 0
        self.folder = folder
        self._segment_seconds = segment_seconds
        self._segment: Segment | None = None
        self._segment_name = ""
        self._is_failing = False
        self._retry_seconds = -math.inf
        self._keyless_since_seconds: float | None = None
        self._keyless_seconds, self._is_keyless_told = 0.0, False

    def _connect(self) -> None:
        self._retry_seconds = -math.inf

    def _finish(self) -> None:
        super()._finish()
        if self._keyless_since_seconds is not None and not self.segments_written:
            self._note_keyless()

    def _keep(self, received: Received, dts_seconds: float) -> None:
        try:
            self._write_packet(received, dts_seconds)
        except FAILURES as error:
            self._fail(error, dts_seconds)

    def _write_packet(self, received: Received, dts_seconds: float) -> None:
        if received.packet.is_keyframe:
            start_seconds = self._segment.start_seconds if self._segment else math.inf
            if dts_seconds - start_seconds >= self._segment_seconds:
                self._complete()
            if self._segment is None and dts_seconds >= self._retry_seconds:
                self._open(received, dts_seconds)
        elif self._segment is None and not self._is_failing:
            self._watch_keyless(dts_seconds)
        if self._segment is not None:
            self._segment.add(received.packet, dts_seconds, received.shown_after_seconds)

    def _watch_keyless(self, dts_seconds: float) -> None:
        """Add a notice when no file can begin because no packet is marked as a key frame."""
        if self._keyless_since_seconds is None:
            self._keyless_since_seconds = dts_seconds
        self._keyless_seconds = dts_seconds - self._keyless_since_seconds
        if self._keyless_seconds >= LONGEST_KEYLESS_SECONDS:
            self._note_keyless()

    def _note_keyless(self) -> None:
        if not self._is_keyless_told:
            self._is_keyless_told = True
            self.notices.append(
                f"is not recorded: no key frame came in {self._keyless_seconds:.1f} s; let the "
                "source send them more often"
            )

    def _open(self, first: Received, dts_seconds: float) -> None:
        assert self._stream is not None
        self._segment_name = self._name(first, dts_seconds)
        path = self.folder / f"{self._segment_name}.mkv"
        self._segment = Segment(path, self._stream, dts_seconds)
        self._keyless_since_seconds = None

    def _complete(self) -> None:
        """Close the file, if one is open."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except FAILURES as error:
            self._fail(error, segment.start_seconds)
            return
        self.segments_written += 1
        if self._is_failing:
            self._is_failing = False
            self.notices.append(f"is recorded again from {self._segment_name} on")

    def _fail(self, error: Exception, dts_seconds: float) -> None:
        """Abandon the file, and add a notice unless the one before failed too."""
        self._segment = None
        self._retry_seconds = dts_seconds + self._segment_seconds
        if self._is_failing:
            return
        self._is_failing = True
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or str(cause)
        self.notices.append(
            f"is not recorded from {self._segment_name} on: {reason}; the rest goes on, and "
            f"recording is tried again every {self._segment_seconds:g} s"
        )

    def _name(self, received: Received, dts_seconds: float) -> str:
        if self._is_live and received.received_seconds is not None:
            moment = datetime.fromtimestamp(received.received_seconds, timezone.utc)
            return f"{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03d}Z"
        return f"{dts_seconds + received.shown_after_seconds:012.3f}s"
