"""Compares the final program's results, and its graphs for different edges."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from co3d.compiler.analyse import Analysis
from co3d.compiler.packing import list_tensors
from co3d.compiler.program import StepProgram
from co3d.parity.elements import elements_by_tick, relative_difference, scale_of
from co3d.runtime import compile as compile_program

Results = list[dict[int, list[Tensor]]]


def run_streams(
    program: StepProgram,
    clips: Sequence[Sequence[Tensor]],
    precision: str,
    advance: Callable[[], None],
) -> Results:
    """Step one slot per clip, and flush it when the clip ends; returns results by slot and tick.

    Args:
        program: a program with edges="both".
        clips: per slot, per input, (C, T, H, W).
        precision: "float32" or "float64".
        advance: called after every step until the longest clip's end.
    """
    compiled = compile_program(program, backend="torch", precision=precision)
    slots = [compiled.open() for _ in clips]
    blank = [torch.zeros(1, *shape) for shape in program.frame_shapes]
    results: Results = [{} for _ in clips]
    longest = max(clip[0].shape[1] for clip in clips)
    for tick in itertools.count():
        shown: dict[int, Sequence[Tensor]] = {}
        for i, (slot, clip) in enumerate(zip(slots, clips, strict=True)):
            if tick < clip[0].shape[1]:
                shown[i] = [given[None, :, tick] for given in clip]
            elif slot.finish():
                shown[i] = blank
        if not shown:
            break
        inputs = [torch.cat(rows) for rows in zip(*shown.values(), strict=True)]
        made = compiled.step([slots[i] for i in shown], inputs)
        for row, i in enumerate(shown):
            if made.fresh[row]:
                results[i][tick] = [output[row] for output in list_tensors(made.output)]
        if tick < longest:
            advance()
    return results


def compare_results(
    results: dict[int, list[Tensor]],
    analysis: Analysis,
    values: dict[str, Tensor],
    clip_frames: int,
) -> float:
    """Largest relative difference between one slot's results and the clip network's outputs.

    Args:
        results: by tick, one tensor per output.
        analysis: gives the ticks of the elements, and how each output is read.
        values: the clip network's outputs for a batch of one, by name; others are not compared.
        clip_frames: length of the clip.
    """
    worst = 0.0
    for i, use in enumerate(analysis.results):
        if use.node.name not in values:
            continue
        value, type_ = values[use.node.name], analysis.types[use.node]
        scale = scale_of(value)
        for tick, element in elements_by_tick(value, type_, 1, clip_frames):
            ready = tick + use.back
            if ready in results:
                difference = relative_difference(results[ready][i], element[0], scale)
                worst = max(worst, difference)
            elif type_.stride == analysis.timing.stride:
                return float("inf")
    return worst


def compare_edges(program: StepProgram, live: StepProgram, precision: torch.dtype) -> float:
    """Largest relative difference between graphs for different edges, where these must agree.

    After enough steps the steady graphs must equal the masked ones. Before, while the end is
    unknown, graphs that mask the start must equal those that mask both ends. All graphs get the
    same random state.

    Args:
        program: a program with edges="both".
        live: the same network with edges="start".
        precision: dtype of frames and state.
    """
    generator = torch.Generator().manual_seed(0)

    def random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if not dtype.is_floating_point:
            return torch.zeros((1, *shape), dtype=dtype)
        return torch.randn((1, *shape), generator=generator, dtype=torch.float64).to(precision)

    past = [random(s.shape, s.dtype) for s in program.states for _ in range(s.depth)]
    frames = [random(shape, program.dtype) for shape in program.frame_shapes]
    never, period, worst = torch.tensor([1 << 60]), len(program.phases), 0.0
    # Rounded up to a multiple of the period.
    old = -(-program.masked_steps // period) * period
    with torch.inference_mode():
        for index, (phase, alive) in enumerate(zip(program.phases, live.phases, strict=True)):
            assert phase.masked is not None
            assert alive.masked is not None
            for start in dict.fromkeys((0, program.delay // period * period, old)):
                age = torch.tensor([start + index])
                masked = phase.masked(*frames, age, never, *past)
                worst = max(worst, _difference(alive.masked(*frames, age, *past), masked))
                if start == old:
                    worst = max(worst, _difference(phase.steady(*frames, *past), masked))
    return worst


def _difference(results: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> float:
    """The largest difference; infinite if only one of the graphs makes a result."""
    worst = 0.0
    for a, b in zip(results, expected, strict=True):
        if a is not None and b is not None:
            worst = max(worst, relative_difference(a, b, scale_of(b)))
        elif a is not b:
            return float("inf")
    return worst
