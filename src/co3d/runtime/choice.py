"""The choice of a backend: which can run a program, and which "auto" takes."""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from co3d.backends.graphs.stored_graph import Format, StoredGraph
from co3d.backends.table import BACKENDS, PRECISIONS
from co3d.compiler.program import Program
from co3d.errors import OptionError
from co3d.packages import require_package

# What any converted program runs in; other precisions need more than the program to be ready.
PLAIN_PRECISIONS = ("float32", "float64", "bfloat16", "float16")


def find_format(program: Program[Any]) -> Format | None:
    """The runtime's format that a program's graphs are in; None for graphs of torch."""
    graph = program.phases[0].steady
    return graph.format if isinstance(graph, StoredGraph) else None


def choose_backend(program: Program[Any], precision: str, device: torch.device) -> tuple[str, str]:
    """The backend that "auto" means for a program, and why.

    Raises:
        OptionError: no backend can run this.
        MissingPackageError: those that can are not installed.
    """
    names, kind = _list_by_speed(program), find_format(program)
    able = [name for name in names if find_complaint(name, precision, device, kind) is None]
    if not able:
        plain = [
            one
            for one in PRECISIONS
            if any(not find_complaint(n, one, device, kind) for n in names)
        ]
        if kind is None and precision != "int8" and plain:
            raise OptionError(
                f"cannot open a stream: got precision {precision!r}, which no backend has on "
                f"{device}; expected one of {', '.join(plain)} there, or another device"
            )
        # Each of them once: several backends may lack the same.
        complaints = dict.fromkeys(find_complaint(n, precision, device, kind) for n in names)
        raise OptionError(f"cannot open a stream: {'; '.join(map(str, complaints))}")
    chosen = next((name for name in able if is_ready(name)), able[0])
    if not is_ready(chosen):
        require_package(chosen, extra=chosen)
    reason = "auto: the fastest that is installed"
    if chosen != able[0]:
        reason += f"; {BACKENDS[able[0]].find_reason()}"
    elif len(able) == 1:
        reason = f"auto: the only one for {precision} on {device}"
    return chosen, reason


def is_ready(name: str) -> bool:
    """Whether what a backend needs is here; of the native one, whether its kernels load."""
    return BACKENDS[name].find_reason() is None


def find_complaint(
    name: str, precision: str, device: torch.device, kind: Format | None = None
) -> str | None:
    """Why a backend cannot run this, wherever it is installed; None where it can."""
    backend = BACKENDS[name]
    if kind is not None and kind not in backend.formats:
        return f"backend {name!r} does not read {kind} files; use backend='auto'"
    if precision == "int8" and kind is None:
        return (
            "int8 needs ranges measured on your videos; write a file with `co3d export --precision "
            "int8 --calibrate VIDEO`, and open that"
        )
    if precision not in backend.precisions:
        return (
            f"backend {name!r} has no precision {precision!r}, expected one of "
            f"{', '.join(backend.precisions)}; or use backend='auto'"
        )
    if not backend.runs_on(device.type):
        return f"backend {name!r} runs on {', '.join(backend.devices or ())}, got device {device}"
    return None


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
    return [name for name in able if not BACKENDS[name].is_slow_to_open and is_ready(name)]


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


def find_device(name: str) -> torch.device:
    """The torch device of a name, with its number where it is one of several.

    Raises:
        OptionError: it is not there.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"cannot open a stream on device {name!r}: {str(error).splitlines()[0]}; use 'cpu' "
            "or a device that torch sees"
        ) from error


def _list_by_speed(program: Program[Any]) -> list[str]:
    """Backends, those first that prefer this program."""
    graphs = [phase.steady for phase in program.phases]
    graphs = [graph for graph in graphs if not isinstance(graph, StoredGraph)]
    return sorted(BACKENDS, key=lambda name: not BACKENDS[name].prefers(graphs))
