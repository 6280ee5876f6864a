"""Which packets were cut short, as far as their demuxer tells."""

from av.packet import Packet

EARLY_FORMATS = ("mpegts", "hls")
"""A lost packet of a transport stream makes FFmpeg mark the picture before the one it belongs to,
and marks are set where recordings are joined too, though nothing is lost there."""

PICTURES_TO_KEY = 2
"""After the mark at a join comes the last picture of the recording, and then a key frame."""


class CutPackets:
    """Tells packets that are cut short from those that are marked so and are whole.

    Args:
        format_name: of the container.
    """

    def __init__(self, format_name: str) -> None:
        self._is_early = format_name.startswith(EARLY_FORMATS)
        self._suspect: Packet | None = None
        self._pictures_since = 0

    def can_decode(self, packet: Packet) -> bool:
        """Whether decoding it does no harm: a packet that is cut short takes its neighbours along.

        Of transport streams all are decoded, since the marked ones are whole, and the decoder tells
        which pictures are not.
        """
        return self._is_early or not packet.is_corrupt

    def find(self, packet: Packet) -> Packet | None:
        """Take the next packet of the video; return one that is known to be cut short by now."""
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
        """One that is known to be cut short since no packet follows."""
        found, self._suspect = self._suspect, None
        return found
