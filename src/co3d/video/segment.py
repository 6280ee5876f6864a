"""One file of a recording: packets of a video stream as they arrived."""

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

    The file grows under a temporary name, under which it plays as far as it is written; `close`
    renames it. Its time starts at 0.

    Args:
        path: of the file; `close` replaces an existing one.
        stream: where the packets come from.
        start_seconds: decoding time of the first packet.

    Raises:
        FFmpegError, OSError, ValueError: the file cannot be written, or Matroska cannot hold such a
            stream. No file is left behind, also when `add` or `close` raises.
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
            packet: as it was demuxed; it is not changed.
            dts_seconds: its decoding time, which never decreases.
            shown_after_seconds: from then until it is shown, 0 or more.
        """
        seconds = dts_seconds - self.start_seconds
        copy = stamp_packet(av.Packet(bytes(packet)), self._stream, seconds, shown_after_seconds)
        copy.is_keyframe = packet.is_keyframe
        with ExitStack() as stack:
            stack.push(self._stack)
            self._container.mux(copy)
            stack.pop_all()

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._stack.close()


def stamp_packet(
    packet: Packet, stream: VideoStream, dts_seconds: float, shown_after_seconds: float
) -> Packet:
    """Assign a packet to a stream of a Matroska file, with its times there."""
    packet.stream = stream
    packet.time_base = TIME_BASE
    packet.dts = round(dts_seconds / TIME_BASE)
    packet.pts = packet.dts + round(shown_after_seconds / TIME_BASE)
    return packet
