"""One file of a recording: packets of a video stream as they came."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from co3d.files import output_file

TIME_BASE = Fraction(1, 1000)
"""Matroska's own."""


class Segment:
    """Packets of one video stream in a Matroska file that begins with a key frame.

    It grows under a temporary name, under which it plays as far as it is written, and is renamed by
    `close`. Its time starts at 0.

    Args:
        path: of the file; one that is there is replaced by `close`.
        stream: where the packets come from.
        start_seconds: decoding time of the first packet.

    Raises:
        FFmpegError, OSError, ValueError: the file cannot be made, or Matroska does not hold such a
            stream. Nothing is left behind, as with all that `add` and `close` raise.
    """

    def __init__(self, path: Path, stream: VideoStream, start_seconds: float) -> None:
        self.start_seconds = start_seconds
        with ExitStack() as stack:
            temporary = stack.enter_context(output_file(path, outlives_kill=True))
            place = f"file:{temporary.absolute()}"
            self._container = stack.enter_context(av.open(place, "w", format="matroska"))
            self._stream = self._container.add_stream_from_template(stream, opaque=True)
            self._stack = stack.pop_all()

    def add(self, packet: Packet, dts_seconds: float, shown_after_seconds: float) -> None:
        """Write a copy of a packet.

        Args:
            packet: as it was demuxed; it is left as it is.
            dts_seconds: its decoding time, which never falls.
            shown_after_seconds: from then until it is shown, 0 or more.
        """
        copy = av.Packet(bytes(packet))
        copy.stream = self._stream
        copy.time_base = TIME_BASE
        copy.dts = round((dts_seconds - self.start_seconds) / TIME_BASE)
        copy.pts = copy.dts + round(shown_after_seconds / TIME_BASE)
        copy.is_keyframe = packet.is_keyframe
        with ExitStack() as stack:
            stack.push(self._stack)
            self._container.mux(copy)
            stack.pop_all()

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._stack.close()
