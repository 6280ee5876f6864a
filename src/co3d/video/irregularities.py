"""Irregularities that frames do not show: jumps back in time and changes of picture size."""

from dataclasses import dataclass, replace
from typing import Any

from co3d.video.clock import PresentationClock
from co3d.video.live_clock import LiveClock
from co3d.video.picture import DecodedFrame, upright_size


@dataclass(frozen=True)
class Irregularities:
    """How often a source's clock jumped back and its pictures changed size.

    Attributes:
        jumps_back: real jumps back of its clock; the times of frames continue across them (see
            `PresentationClock`). Jumps ahead are gaps, which frames carry themselves.
        size_changes: changes of the picture size; all pictures are scaled to the first one's size.
    """

    jumps_back: int = 0
    size_changes: int = 0


class IrregularityCounter:
    """Counts irregularities over all connections of a source.

    Attributes:
        counts: so far. Another thread may read them.
    """

    def __init__(self) -> None:
        self.counts = Irregularities()
        self._size: tuple[int, int] | None = None
        self._known_jumps = 0

    def look_at(
        self, frame: DecodedFrame, clock: PresentationClock[Any] | LiveClock[Any]
    ) -> str | None:
        """Count what begins at the next frame; return a sentence about it, or None.

        Args:
            frame: as it is delivered. clock: the one that gave it its time.
        """
        said, counts = [], self.counts
        if clock.jumps_back > self._known_jumps:
            jumps = counts.jumps_back + clock.jumps_back - self._known_jumps
            counts = replace(counts, jumps_back=jumps)
            said.append(f"its clock jumped back by {clock.jump_back_seconds:.1f} s (jump {jumps})")
        self._known_jumps = clock.jumps_back  # 0 if a recording is read again
        size = upright_size(frame.frame)
        if self._size not in (None, size):
            changes = counts.size_changes + 1
            counts = replace(counts, size_changes=changes)
            said.append(f"its pictures now have {size[0]}x{size[1]} pixels (change {changes})")
        self._size = size
        self.counts = counts
        return "; ".join(said) or None
