"""Which pictures a late decoder skips."""

from av.codec.context import CodecContext

from co3d.video.packets import ReceivedPacket


class Skipper:
    """Lets a decoder skip pictures that no other picture refers to, and counts them.

    A picture was skipped if a later one is delivered without it. Pictures without timestamps cannot
    be told apart, so they are all decoded.

    Args:
        context: of the decoder.
    """

    def __init__(self, context: CodecContext) -> None:
        self._context = context
        self._offered: set[int] = set()

    def prepare(self, received: ReceivedPacket) -> None:
        """Set the decoder to skip or decode the next packet."""
        pts = received.packet.pts
        if pts is None or not received.is_late:
            self._context.skip_frame = "DEFAULT"
            return
        self._context.skip_frame = "NONREF"
        self._offered.add(pts)

    def count(self, pts: int | None) -> int:
        """How many pictures were skipped before the one delivered with this timestamp."""
        if pts is None or not self._offered:
            return 0
        passed = {offered for offered in self._offered if offered <= pts}
        self._offered -= passed
        return len(passed - {pts})

    def count_rest(self) -> int:
        """How many of the remaining pictures were skipped: the decoder holds none any more."""
        left_out = len(self._offered)
        self._offered.clear()
        return left_out
