"""The state of a camera or network stream: what it does, since when, and why."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["connecting", "live", "stalled", "reconnecting", "refused"]


@dataclass(frozen=True)
class SourceState:
    """What a camera or network stream is doing from a moment on.

    Attributes:
        phase: "connecting" until the first frame has arrived, "live" while frames arrive,
            "stalled" while it is connected but no frame arrives, "reconnecting" from a break until
            the next frame, "refused" while the engine has no room for it.
        cause: why the latest attempt to connect failed, what broke, or why it was refused; for a
            live source, that its clock jumped back or its picture size changed. None if nothing
            did.
        since_seconds: when this state began, Unix time.
    """

    phase: Phase
    cause: str | None = None
    since_seconds: float = field(default_factory=time.time, compare=False)


StateListener = Callable[[SourceState], None]
