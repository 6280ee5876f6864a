"""The choice of a backend: which can run a program, and which "auto" takes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from rich.progress import SpinnerColumn

from co3d.backends.graphs.stored_graph import Format, StoredGraph
from co3d.backends.table import BACKENDS, PRECISIONS
from co3d.compiler.program import Program
from co3d.errors import OptionError
from co3d.packages import require_package
from co3d.progress import open_progress
from co3d.runtime.kept_choices import find_choice_key, keep_choice, read_choice
from co3d.runtime.measure import Measured, measure_candidates
from co3d.runtime.threads import choose_threads, list_thread_counts

# What any converted program runs in; other precisions need more than the program to be ready.
PLAIN_PRECISIONS = ("float32", "float64", "bfloat16", "float16")
# Of the operators; a backend whose own kernels run fewer of them is not considered.
LEAST_SHARE = 0.5


def find_format(program: Program[Any]) -> Format | None:
    """The runtime's format that a program's graphs are in; None for graphs of torch."""
    graph = program.phases[0].steady
    return graph.format if isinstance(graph, StoredGraph) else None


@dataclass(frozen=True)
class Choice:
    """What "auto" means for a program.

    Attributes:
        backend: its name.
        threads: that a step takes, where the backend has threads of its own to count.
        reason: why, in words.
    """

    backend: str
    threads: int
    reason: str


def choose_backend(program: Program[Any], precision: str, device: torch.device) -> Choice:
    """The backend that "auto" means for a program, how many threads it takes, and why.

    Where several can run it on a CPU, and no backend has kernels of its own for all of its
    operators, each steps the program for a moment, and the best one is kept for the next start:
    see `measure_candidates`.

    Raises:
        OptionError: no backend can run this.
        MissingPackageError: those that can are not installed.
    """
    shares, kind = _find_shares(program), find_format(program)
    # Those first that have kernels of their own for all operators.
    names = sorted(BACKENDS, key=lambda name: shares.get(name) != 1)
    able = [name for name in names if find_complaint(name, precision, device, kind) is None]
    if not able:
        _refuse(names, precision, device, kind)
    threads = choose_threads(program)
    # Kernels that run little of a network are not worth building or measuring.
    able = [name for name in able if shares.get(name, 1) >= LEAST_SHARE] or able
    if len(able) == 1:
        chosen, reason = able[0], f"auto: the only one for {precision} on {device}"
    elif device.type != "cpu" or kind is not None or _has_all_kernels(able[0], shares):
        chosen, reason = _take_first(able)
    else:
        candidates = [n for n in able if not BACKENDS[n].is_slow_to_open and is_ready(n)]
        if len(candidates) > 1:
            choice = _measure(program, precision, candidates)
            if shares.get(able[0]) == 1:  # the first choice, had it been there
                choice = replace(
                    choice, reason=f"{choice.reason}; {BACKENDS[able[0]].find_reason()}"
                )
            return choice
        chosen, reason = _take_first(able)
    if not is_ready(chosen):
        require_package(chosen, extra=chosen)
    return Choice(chosen, threads, reason)


def would_take_native(program: Program[Any], precision: str, device: torch.device) -> bool:
    """Whether "auto" means the native backend, once its kernels can be loaded."""
    is_whole = find_format(program) is None and _find_shares(program).get("native") == 1
    return is_whole and find_complaint("native", precision, device) is None


def _measure(program: Program[Any], precision: str, candidates: Sequence[str]) -> Choice:
    """The best of some backends, as it was found now or at an earlier start."""
    counts = list_thread_counts(program)
    key = find_choice_key(program, precision, (*candidates, *counts))
    kept = read_choice(key)
    if kept is not None and kept[0] in candidates and kept[1] in counts:
        return Choice(*kept)
    with open_progress(SpinnerColumn(), "{task.description}", transient=True) as progress:
        progress.add_task("measuring which backend is quickest, once", total=None)
        found = measure_candidates(program, precision, candidates, counts)
    if not found:  # whatever keeps all of them is said when one is opened
        return Choice(*_take_first(candidates)[:1], counts[-1], "auto: the first that is installed")
    best, reason = found[0], _describe(found)
    keep_choice(key, best.backend, best.threads, reason)
    return Choice(best.backend, best.threads, reason)


def _describe(found: Sequence[Measured]) -> str:
    """What was measured, of each backend the best, in words."""
    best: dict[str, str] = {}
    for one in found:
        best.setdefault(one.backend, f"{one.cost.score * 1e3:.1f}")
    first, *others = best
    rest = ", ".join(f"{name} {best[name]}" for name in others)
    return f"auto: {best[first]} ms a step here" + (f"; {rest}" if rest else "")


def _take_first(able: Sequence[str]) -> tuple[str, str]:
    """The first backend that is ready, and why no earlier one."""
    chosen = next((name for name in able if is_ready(name)), able[0])
    reason = "auto: the fastest that is installed"
    if chosen != able[0]:
        reason += f"; {BACKENDS[able[0]].find_reason()}"
    return chosen, reason


def _has_all_kernels(name: str, shares: Mapping[str, float]) -> bool:
    """Whether a backend has kernels of its own for all operators, and they are to be had."""
    return shares.get(name) == 1 and is_ready(name)


def _refuse(
    names: Sequence[str], precision: str, device: torch.device, kind: Format | None
) -> NoReturn:
    """Say why no backend can run this."""
    plain = [
        one for one in PRECISIONS if any(not find_complaint(n, one, device, kind) for n in names)
    ]
    if kind is None and precision != "int8" and plain:
        raise OptionError(
            f"cannot open a stream: got precision {precision!r}, which no backend has on "
            f"{device}; expected one of {', '.join(plain)} there, or another device"
        )
    # Each of them once: several backends may lack the same.
    complaints = dict.fromkeys(find_complaint(n, precision, device, kind) for n in names)
    raise OptionError(f"cannot open a stream: {'; '.join(map(str, complaints))}")


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


def find_device(name: str | torch.device) -> torch.device:
    """The torch device of a name, with its number where it is one of several.

    Raises:
        OptionError: it is not there.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"cannot open a stream on device {str(name)!r}: {str(error).splitlines()[0]}; use "
            "'cpu' or a device that torch sees"
        ) from error


def _find_shares(program: Program[Any]) -> dict[str, float]:
    """Of backends with kernels of their own, the share of the program's operators that they run."""
    graphs = [phase.steady for phase in program.phases]
    graphs = [graph for graph in graphs if not isinstance(graph, StoredGraph)]
    return {
        name: backend.find_share(graphs)
        for name, backend in BACKENDS.items()
        if backend.find_share is not None
    }
