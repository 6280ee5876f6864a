"""The choice of a backend: which backends can run a program, and which one "auto" means."""

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

# The precisions that any converted program can run in; int8 needs calibration too.
PLAIN_PRECISIONS = ("float32", "float64", "bfloat16", "float16")
# "auto" ignores a backend whose kernels run a smaller share of the program's operators.
LEAST_COVERAGE = 0.5


def find_format(program: Program[Any]) -> Format | None:
    """The file format of a program's graphs; None for graphs of torch."""
    graph = program.phases[0].steady
    return graph.format if isinstance(graph, StoredGraph) else None


@dataclass(frozen=True)
class Choice:
    """The backend that "auto" means for a program.

    Attributes:
        backend: its name.
        threads: threads per step, for backends that take a number of threads.
        reason: why it was chosen, in words.
    """

    backend: str
    threads: int
    reason: str


def choose_backend(program: Program[Any], precision: str, device: torch.device) -> Choice:
    """Choose the backend that "auto" means for a program, and its threads.

    A backend whose own kernels run all operators comes first. Otherwise, if several backends can
    run the program on a CPU, each is measured for a moment, and the result is cached for the next
    start (see `measure_candidates`).

    Raises:
        OptionError: no backend can run this.
        MissingPackageError: those that can are not installed.
    """
    coverage, kind = _find_coverage(program), find_format(program)
    # Backends whose own kernels run all operators come first.
    names = sorted(BACKENDS, key=lambda name: coverage.get(name) != 1)
    able = [name for name in names if find_complaint(name, precision, device, kind) is None]
    if not able:
        _refuse(names, precision, device, kind)
    threads = choose_threads(program)
    # Kernels that run little of a network are not worth building or measuring.
    able = [name for name in able if coverage.get(name, 1) >= LEAST_COVERAGE] or able
    if len(able) == 1:
        chosen, reason = able[0], f"auto: the only one for {precision} on {device}"
    elif device.type != "cpu" or kind is not None or _has_all_kernels(able[0], coverage):
        chosen, reason = _take_first(able)
    else:
        candidates = [n for n in able if not BACKENDS[n].is_slow_to_open and is_ready(n)]
        if len(candidates) > 1:
            choice = _measure(program, precision, candidates)
            if coverage.get(able[0]) == 1:  # it would be the choice if it were available
                choice = replace(
                    choice, reason=f"{choice.reason}; {BACKENDS[able[0]].find_reason()}"
                )
            return choice
        chosen, reason = _take_first(able)
    if not is_ready(chosen):
        require_package(chosen, extra=chosen)
    return Choice(chosen, threads, reason)


def would_take_native(program: Program[Any], precision: str, device: torch.device) -> bool:
    """Whether "auto" would mean the native backend if its kernels were compiled."""
    is_whole = find_format(program) is None and _find_coverage(program).get("native") == 1
    return is_whole and find_complaint("native", precision, device) is None


def _measure(program: Program[Any], precision: str, candidates: Sequence[str]) -> Choice:
    """The best of the candidates: measured now, or cached at an earlier start."""
    counts = list_thread_counts(program)
    key = find_choice_key(program, precision, (*candidates, *counts))
    kept = read_choice(key)
    if kept is not None and kept[0] in candidates and kept[1] in counts:
        return Choice(*kept)
    with open_progress(SpinnerColumn(), "{task.description}", transient=True) as progress:
        progress.add_task("measuring which backend is quickest, once", total=None)
        found = measure_candidates(program, precision, candidates, counts)
    if not found:  # none could step; opening the first one raises why
        return Choice(*_take_first(candidates)[:1], counts[-1], "auto: the first that is installed")
    best, reason = found[0], _describe(found)
    keep_choice(key, best.backend, best.threads, reason)
    return Choice(best.backend, best.threads, reason)


def _describe(found: Sequence[Measured]) -> str:
    """Describe the best time of each measured backend."""
    best: dict[str, str] = {}
    for one in found:
        best.setdefault(one.backend, f"{one.cost.score * 1e3:.1f}")
    first, *others = best
    rest = ", ".join(f"{name} {best[name]}" for name in others)
    return f"auto: {best[first]} ms a step here" + (f"; {rest}" if rest else "")


def _take_first(able: Sequence[str]) -> tuple[str, str]:
    """The first backend that is ready, and the reason, which names a better unavailable one."""
    chosen = next((name for name in able if is_ready(name)), able[0])
    reason = "auto: the fastest that is installed"
    if chosen != able[0]:
        reason += f"; {BACKENDS[able[0]].find_reason()}"
    return chosen, reason


def _has_all_kernels(name: str, coverage: Mapping[str, float]) -> bool:
    """Whether a backend's own kernels run all operators, and are available."""
    return coverage.get(name) == 1 and is_ready(name)


def _refuse(
    names: Sequence[str], precision: str, device: torch.device, kind: Format | None
) -> NoReturn:
    """Raise the error that explains why no backend can run this."""
    plain = [
        one for one in PRECISIONS if any(not find_complaint(n, one, device, kind) for n in names)
    ]
    if kind is None and precision != "int8" and plain:
        raise OptionError(
            f"cannot open a stream: got precision {precision!r}, which no backend has on "
            f"{device}; expected one of {', '.join(plain)} there, or another device"
        )
    # Without duplicates, because several backends may give the same reason.
    complaints = dict.fromkeys(find_complaint(n, precision, device, kind) for n in names)
    raise OptionError(f"cannot open a stream: {'; '.join(map(str, complaints))}")


def is_ready(name: str) -> bool:
    """Whether a backend is available here; this may load the native backend's kernels."""
    return BACKENDS[name].find_reason() is None


def find_complaint(
    name: str, precision: str, device: torch.device, kind: Format | None = None
) -> str | None:
    """Why a backend cannot run this even if it is installed; None if it can."""
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
    """All supported pairs of these backends and precisions on a device type, such as "cuda".

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
    """Available backends for a device type that open in seconds, in the order of `BACKENDS`.

    Args:
        device_type: such as "cuda".
    """
    able = [name for name, backend in BACKENDS.items() if backend.runs_on(device_type)]
    return [name for name in able if not BACKENDS[name].is_slow_to_open and is_ready(name)]


def check_names(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """Check that all names are known.

    Raises:
        OptionError: one is not; the message lists the known names.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OptionError(
            f"cannot measure: got {kind} {unknown[0]!r}, expected one of {', '.join(known)}"
        )


def find_device(name: str | torch.device) -> torch.device:
    """The torch device of a name, with its index ("cuda" becomes "cuda:0").

    Raises:
        OptionError: there is no such device.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"cannot open a stream on device {str(name)!r}: {str(error).splitlines()[0]}; use "
            "'cpu' or a device that torch sees"
        ) from error


def _find_coverage(program: Program[Any]) -> dict[str, float]:
    """For each backend with its own kernels, the share of the program's operators that they run."""
    graphs = [phase.steady for phase in program.phases]
    graphs = [graph for graph in graphs if not isinstance(graph, StoredGraph)]
    return {
        name: backend.find_coverage(graphs)
        for name, backend in BACKENDS.items()
        if backend.find_coverage is not None
    }
