"""Checks of options that clip and stream modes of commands share, before anything is opened."""

from collections.abc import Mapping
from typing import Literal

from co3d.errors import OptionError

Mode = Literal["clip", "stream"]
Protocol = Literal["paper"]


def choose_mode(
    verb: str, mode: Mode | None, protocol: Protocol | None, settled: Mapping[str, object]
) -> Mode:
    """The requested mode, or the one that the protocol implies.

    Args:
        verb: what the command does, for messages.
        protocol: of a publication; CoX3D's is in stream mode.
        settled: options that a protocol fixes -> their values, None if left out.

    Raises:
        OptionError: neither is given, or they contradict each other.
    """
    if protocol is None:
        if mode is None:
            raise OptionError(
                f"cannot {verb} without a mode: give --mode clip, --mode stream or --protocol paper"
            )
        return mode
    if mode == "clip":
        raise OptionError(
            f"cannot {verb} by --protocol {protocol} in clip mode: it is for streams; leave "
            "--mode out"
        )
    given = [name for name, value in settled.items() if value is not None]
    if given:
        raise OptionError(
            f"cannot {verb} by --protocol {protocol} with {given[0]}: the protocol fixes it; "
            "leave it out"
        )
    return "stream"


def refuse_other_mode(
    verb: str, mode: Mode, clip_only: Mapping[str, object], stream_only: Mapping[str, object]
) -> None:
    """Refuse options that belong to the other mode.

    Args:
        verb: what the command does, for messages.
        clip_only, stream_only: option -> its value, None if left out.

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


def check_minimums(verb: str, numbers: Mapping[str, int | None], least: int = 1) -> None:
    """Refuse numbers below `least`; None means left out.

    Raises:
        OptionError: a number is.
    """
    for name, number in numbers.items():
        if number is not None and number < least:
            raise OptionError(f"cannot {verb} with {name} {number}: expected at least {least}")


def refuse_rate(verb: str, rate_hz: float | None) -> None:
    """Refuse a frame rate that is not above zero and finite; None means left out.

    Raises:
        OptionError: it is not.
    """
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise OptionError(
            f"cannot {verb} at --rate-hz {rate_hz}: expected a rate above 0, such as 6"
        )
