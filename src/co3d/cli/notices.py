"""Print notices about a source on standard error, each once."""

import time

from co3d.console import warn
from co3d.engine import Prediction
from co3d.engine.cameras import CameraWatch
from co3d.video import SourceState, VideoReader

UNSAID_SECONDS = 1.0
"""Most servers answer sooner, so a shorter wait for a connection is not announced."""


class Notices:
    """Prints each notice of a reader when it comes up, above the live view if there is one."""

    def __init__(self, reader: VideoReader) -> None:
        self._reader = reader
        self._said = 0

    def add(self, prediction: Prediction) -> None:  # noqa: ARG002 (part of the sink interface)
        """Print what is new since the last prediction."""
        self.print_new()

    def print_new(self) -> None:
        """Print the notices that are new."""
        notices = self._reader.notices
        for notice in notices[self._said :]:
            warn(f"warning: {notice}")
        self._said = len(notices)


class FleetNotices:
    """Prints each notice of several cameras when it comes up, with the camera's name.

    Args:
        watch: the cameras.
    """

    def __init__(self, watch: CameraWatch) -> None:
        self._watch = watch
        self._said: set[tuple[str, str]] = set()

    def print_new(self, name: str) -> None:
        """Print a camera's new notices; reopening the camera does not repeat earlier ones."""
        for notice in self._watch.list_notices(name):
            if (name, notice) not in self._said:
                self._said.add((name, notice))
                warn(f"warning: {name}: {notice}")


class ConnectionNotices:
    """Says on standard error when it waits for a camera or network stream, and when it is back."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._said: SourceState | None = None
        self._lost_at_seconds = 0.0

    def show(self, state: SourceState) -> None:
        """Announce a change, once per state and cause."""
        if state == self._said or self._is_brief(state):
            return
        if state.phase == "stalled":  # a stall ends by itself, or in a reconnection
            return
        was_lost = self._said is not None and self._said.phase == "reconnecting"
        if state.phase == "live":
            if was_lost:
                away_seconds = state.since_seconds - self._lost_at_seconds
                self._print(f"{self._source} is back after {away_seconds:.1f} s")
            if state.cause is not None:
                self._print(f"{self._source} goes on: {state.cause}")
        elif state.phase == "reconnecting":
            if not was_lost:
                self._lost_at_seconds = state.since_seconds
            self._print(f"lost {self._source} ({state.cause}), reconnecting …")
        elif state.cause is None:
            self._print(f"connecting to {self._source} …")
        else:
            self._print(f"{state.cause}; trying again …")
        self._said = state

    def _is_brief(self, state: SourceState) -> bool:
        """Whether the first attempt to connect has been too short to announce."""
        is_first = state.phase == "connecting" and state.cause is None
        return is_first and time.time() - state.since_seconds < UNSAID_SECONDS

    def _print(self, text: str) -> None:
        warn(text)
