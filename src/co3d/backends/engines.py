"""Engines: the pairs of backend and precision that exist."""

from collections.abc import Collection, Sequence

from co3d.backends.select import BACKENDS, PRECISIONS, is_ready
from co3d.errors import OptionError

# What any converted program runs in; other precisions need more than the program to be ready.
PLAIN_PRECISIONS = ("float32", "float64", "bfloat16", "float16")
SLOW_TO_OPEN = ("inductor",)  # minutes of compilation: only when asked for


def select_engines(
    backends: Sequence[str], precisions: Sequence[str], device_type: str = "cpu"
) -> tuple[tuple[str, str], ...]:
    """All pairs of these backends and precisions that exist on a kind of device, such as "cuda".

    Raises:
        OptionError: an unknown name, or no pair at all.
    """
    check_names("backend", backends, BACKENDS)
    check_names("precision", precisions, PRECISIONS)
    able = [name for name in backends if BACKENDS[name].runs_on(device_type)]
    pairs = tuple((b, p) for b in able for p in precisions if p in BACKENDS[b].precisions)
    if not pairs:
        raise OptionError(
            f"cannot measure: none of {', '.join(backends)} has the precision "
            f"{' or '.join(precisions)} on {device_type}; try --backend torch"
        )
    return pairs


def list_quick_backends(device_type: str = "cpu") -> list[str]:
    """Backends for a kind of device that are installed and open in seconds, as `BACKENDS` has them.

    Args:
        device_type: such as "cuda".
    """
    able = [name for name, backend in BACKENDS.items() if backend.runs_on(device_type)]
    return [name for name in able if name not in SLOW_TO_OPEN and is_ready(name)]


def check_names(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """Refuse the first name that is not known.

    Raises:
        OptionError: naming those that are.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OptionError(
            f"cannot measure: got {kind} {unknown[0]!r}, expected one of {', '.join(known)}"
        )
