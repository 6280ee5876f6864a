"""Which packets were cut short, as far as their demuxer marks them."""

from av.packet import Packet

EARLY_FORMATS = ("mpegts", "hls")
"""When a transport stream loses a packet, FFmpeg marks the picture before the damaged one. It also
sets marks where recordings are joined, though nothing is lost there."""

PICTURES_TO_KEY = 2
"""After the mark at a join come the recording's last picture and then a key frame."""


class CutPackets:
    """Tells packets that were really cut short from whole ones that FFmpeg marks as cut.

    Args:
        format_name: of the container.
    """

    def __init__(self, format_name: str) -> None:
        self._is_early = format_name.startswith(EARLY_FORMATS)
        self._suspect: Packet | None = None
        self._pictures_since = 0

    def can_decode(self, packet: Packet) -> bool:
        """Whether decoding it does no harm: a packet that is cut short damages its neighbours.

        In transport streams all are decoded, since the marked ones are whole, and the decoder
        reports damaged pictures.
        """
        return self._is_early or not packet.is_corrupt

    def find(self, packet: Packet) -> Packet | None:
        """Take the next video packet; return one that is now known to be cut short."""
        if not self._is_early:
            return packet if packet.is_corrupt else None
        found = None
        if packet.is_keyframe:
            self._suspect = None
        elif self._suspect is not None:
            self._pictures_since += 1
            if packet.is_corrupt or self._pictures_since == PICTURES_TO_KEY:
                found, self._suspect = self._suspect, None
        if packet.is_corrupt:
            self._suspect, self._pictures_since = packet, 0
        return found

    def find_rest(self) -> Packet | None:
        """Return a packet that is known to be cut short because no packet follows."""
        found, self._suspect = self._suspect, None
        return found
