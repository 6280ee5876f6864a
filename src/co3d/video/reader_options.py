"""What the options of `read_video` may be."""

import math
from typing import Literal, get_args

from co3d.errors import OptionError
from co3d.video.container import RtspTransport

Gap = Literal["keep", "reset"]
Policy = Literal["latest", "every"]


def check_choices(policy: object, rtsp_transport: object, gap: object) -> None:
    """Raise OptionError for a choice that there is not."""
    for name, value, known in (
        ("policy", policy, (None, *get_args(Policy))),
        ("rtsp_transport", rtsp_transport, get_args(RtspTransport)),
        ("gap", gap, (None, *get_args(Gap))),
    ):
        if value not in known:
            expected = " or ".join(repr(one) for one in known if one)
            raise OptionError(f"cannot read with {name} {value!r}; choose {expected}")


def check_numbers(
    record_seconds: float, queue_frames: int, reconnect_seconds: float | None
) -> None:
    """Raise OptionError for a number out of range."""
    if not 0 < record_seconds < math.inf:
        raise OptionError(f"record_seconds is {record_seconds}, expected above 0; choose 60, say")
    if queue_frames < 1:
        raise OptionError(f"queue_frames is {queue_frames}, expected at least 1; choose 8, say")
    if reconnect_seconds is not None and not reconnect_seconds >= 0:
        raise OptionError(f"reconnect_seconds is {reconnect_seconds}, expected 0 or more")


def check_positive(**rates_hz: float | None) -> None:
    """Raise OptionError for a rate that is not above 0; None passes."""
    for name, rate_hz in rates_hz.items():
        if rate_hz is not None and not 0 < rate_hz < math.inf:
            raise OptionError(f"{name} is {rate_hz}, expected a rate above 0; choose 8, say")
