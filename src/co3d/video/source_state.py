"""What a camera or network stream is doing: its state, since when, and why."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["connecting", "live", "stalled", "reconnecting", "refused"]


@dataclass(frozen=True)
class SourceState:
    """What a camera or network stream does from a moment on.

    Attributes:
        phase: "connecting" until the first frame has come, "live" while frames come,
            "stalled" while the connection stands but no frame comes, "reconnecting" from a break on
            until the next frame has come, "refused" while the engine has no room for it.
        cause: why the latest attempt to connect failed, what broke, or why it was refused; None
            where nothing has.
        since_seconds: when it began, Unix time.
    """

    phase: Phase
    cause: str | None = None
    since_seconds: float = field(default_factory=time.time, compare=False)


StateListener = Callable[[SourceState], None]
