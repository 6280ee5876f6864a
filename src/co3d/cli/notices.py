"""What is odd about a source, said once on standard error."""

import sys

from co3d.engine import Prediction
from co3d.video import VideoReader


class Notices:
    """Prints each notice of a reader when it comes up, above the live view if there is one."""

    def __init__(self, reader: VideoReader) -> None:
        self._reader = reader
        self._said = 0

    def add(self, prediction: Prediction) -> None:  # noqa: ARG002 (they come as time goes on)
        """Print what is new since the last prediction."""
        notices = self._reader.notices
        for notice in notices[self._said :]:
            print(f"warning: {notice}", file=sys.stderr, flush=True)
        self._said = len(notices)
