"""Copies of a source's packets, passed on as they arrive."""

from collections.abc import Callable

from av.error import FFmpegError

from co3d.video.clip import KeptPacket, StreamCopy, StreamHead
from co3d.video.packet_tap import PacketTap, Received

CopiedItem = StreamHead | KeptPacket


class PacketCopier(PacketTap):
    """Passes on each connection's stream head, followed by its packets one by one.

    Nothing is passed on of a stream that Matroska cannot hold; a notice says so.

    Args:
        hand_on: receives them, in the thread that reads packets.
    """

    def __init__(self, hand_on: Callable[[CopiedItem], None]) -> None:
        super().__init__()
        self._hand_on = hand_on
        self._copy: StreamCopy | None = None
        self._has_head = False

    def _connect(self) -> None:
        assert self._stream is not None
        self._has_head = False
        try:
            self._copy = StreamCopy(self._stream)
        except (FFmpegError, ValueError) as error:
            self._refuse(error)

    def _keep(self, received: Received, dts_seconds: float) -> None:
        if self._copy is None:
            return
        kept = KeptPacket(
            bytes(received.packet),
            received.packet.is_keyframe,
            dts_seconds,
            received.shown_after_seconds,
            received.received_seconds,
        )
        if not self._has_head:
            try:
                self._hand_on(self._copy.describe(kept))
            except (FFmpegError, ValueError) as error:
                self._refuse(error)
                return
            self._has_head = True
        self._hand_on(kept)

    def _complete(self) -> None:
        """Do nothing: packets that were passed on stay where they are."""

    def _refuse(self, error: Exception) -> None:
        self._copy = None
        self.notices.append(f"gives events no pictures and no clips: {error}")
