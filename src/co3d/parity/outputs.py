"""The finished program on its backend: its results, and its steady graphs."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from co3d.backends import open_stream
from co3d.parity.elements import elements_by_tick, largest_magnitude, relative_difference
from co3d.stream.analyse import Analysis
from co3d.stream.program import StepProgram

Results = list[dict[int, list[Tensor]]]


def run_streams(
    program: StepProgram,
    clips: Sequence[Sequence[Tensor]],
    precision: str,
    advance: Callable[[], None],
) -> Results:
    """Step one slot per clip until it ends, then flush it; results per slot and tick.

    Args:
        program: with edges="both".
        clips: per slot, per input, (C, T, H, W).
        precision: "float32" or "float64".
        advance: called after every step.
    """
    stream = open_stream(program, backend="torch", precision=precision, slots=len(clips))
    lengths = [clip[0].shape[1] for clip in clips]
    results: Results = [{} for _ in clips]
    for tick in range(max(lengths)):
        frames = [
            torch.stack([c[:, min(tick, c.shape[1] - 1)] for c in inputs])
            for inputs in zip(*clips, strict=True)
        ]
        step = stream.step(frames, active=torch.tensor([tick < n for n in lengths]))
        for slot in step.fresh.nonzero().flatten().tolist():
            results[slot][tick] = [o[slot] for o in tree_leaves(step.output)]
        advance()
        for slot, length in enumerate(lengths):
            if length == tick + 1:
                ticks = (t for t in itertools.count(length) if _is_fresh(program, t))
                for tick_after, late in zip(ticks, stream.flush(slot), strict=False):
                    results[slot][tick_after] = [o[slot] for o in tree_leaves(late.output)]
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
        analysis: says when the elements are made, and how each output is read.
        values: outputs of the clip network for a batch of one, by name; those that are not there
            are not compared.
        clip_frames: of the clip.
    """
    worst = 0.0
    for i, use in enumerate(analysis.results):
        if use.node.name not in values:
            continue
        value, type_ = values[use.node.name], analysis.types[use.node]
        scale = largest_magnitude(value)
        for tick, element in elements_by_tick(value, type_, 1, clip_frames):
            ready = tick + use.back
            if ready in results:
                difference = relative_difference(results[ready][i], element[0], scale)
                worst = max(worst, difference)
            elif type_.stride == analysis.timing.stride:
                return float("inf")
    return worst


def compare_steady(program: StepProgram) -> float:
    """Largest relative difference between steady and masked graphs where no mask matters.

    Any past will do: both graphs see the same random one, far from the edges of a video.
    """
    generator = torch.Generator().manual_seed(0)

    def random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if not dtype.is_floating_point:
            return torch.zeros((1, *shape), dtype=dtype)
        return torch.randn((1, *shape), generator=generator, dtype=torch.float64).to(dtype)

    past = [random(s.shape, s.dtype) for s in program.states for _ in range(s.depth)]
    frames = [random(shape, program.dtype) for shape in program.frame_shapes]
    period, worst = len(program.phases), 0.0
    # The first tick of each phase at which a stream goes without masks.
    start = -(-program.masked_steps // period) * period
    for index, phase in enumerate(program.phases):
        assert phase.masked is not None
        clocks = torch.tensor([start + index]), torch.tensor([1 << 60])
        with torch.inference_mode():
            steady = phase.steady(*frames, *past)
            masked = phase.masked(*frames, *clocks, *past)
        for a, b in zip(steady, masked, strict=True):
            if isinstance(a, Tensor):
                worst = max(worst, relative_difference(a, b, largest_magnitude(b)))
    return worst


def _is_fresh(program: StepProgram, tick: int) -> bool:
    return program.phases[tick % len(program.phases)].is_fresh
