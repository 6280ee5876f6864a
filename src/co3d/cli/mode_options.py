"""Checks of the options that commands in clip and stream mode share, before anything is opened."""

from collections.abc import Mapping
from typing import Literal

from co3d.errors import OptionError

Mode = Literal["clip", "stream"]
Protocol = Literal["paper"]


def choose_mode(
    verb: str, mode: Mode | None, protocol: Protocol | None, settled: Mapping[str, object]
) -> Mode:
    """The mode that is asked for, or that of a protocol.

    Args:
        verb: what the command does.
        protocol: of a publication; that of CoX3D is one of streams.
        settled: option that a protocol settles -> its value, None where it was left out.

    Raises:
        OptionError: neither was given, or they contradict each other.
    """
    if protocol is None:
        if mode is None:
            raise OptionError(
                f"cannot {verb} without a mode: give --mode clip, --mode stream or --protocol paper"
            )
        return mode
    if mode == "clip":
        raise OptionError(
            f"cannot {verb} by --protocol {protocol} in clip mode: it is one of streams; leave "
            "--mode out"
        )
    given = [name for name, value in settled.items() if value is not None]
    if given:
        raise OptionError(
            f"cannot {verb} by --protocol {protocol} with {given[0]}: the protocol settles it; "
            "leave it out"
        )
    return "stream"


def refuse_foreign(
    verb: str, mode: Mode, clip_only: Mapping[str, object], stream_only: Mapping[str, object]
) -> None:
    """Refuse options of the other mode.

    Args:
        verb: what the command does.
        clip_only, stream_only: option -> its value, None where it was left out.

    Raises:
        OptionError: one was given.
    """
    foreign = stream_only if mode == "clip" else clip_only
    given = [name for name, value in foreign.items() if value is not None]
    if given:
        raise OptionError(
            f"cannot {verb} in {mode} mode with {given[0]}: it belongs to "
            f"{'streams' if mode == 'clip' else 'clips'}; leave it out"
        )


def refuse_low(verb: str, numbers: Mapping[str, int | None], least: int = 1) -> None:
    """Refuse numbers below the least that makes sense; None was left out.

    Raises:
        OptionError: one is.
    """
    for name, number in numbers.items():
        if number is not None and number < least:
            raise OptionError(f"cannot {verb} with {name} {number}: expected at least {least}")


def refuse_rate(verb: str, rate_hz: float | None) -> None:
    """Refuse a frame rate that is not above zero and finite; None was left out.

    Raises:
        OptionError: it is not.
    """
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise OptionError(
            f"cannot {verb} at --rate-hz {rate_hz}: expected a rate above 0, such as 6"
        )
