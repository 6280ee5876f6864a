"""Every registered network on every backend, in every precision, with all events of slots.

The reference is the eager backend in float32, of which `tests/parity/test_registry_steps.py` proves
(as of float64) that its steps equal the clip network. All programs have exact edges.

Tolerances are relative L2 errors per slot and step (`pytest -s` prints the worst of each):

- float32: both sides round, by some 1e-6 after the hundred layers of the deepest network; another
  order of summation makes no more than a few times that. 1e-5.
- bfloat16: weights, frames and state keep 8 bits, half a unit of which is 2^-9 = 0.2 %. Layers add
  their errors like a random walk: a hundred of them make ten times that at most, and less where
  norms and sums average errors out; the worst single step is half as much above. 3e-2.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import pytest
import torch
from torch import Tensor

from co3d.compiler import StepProgram, convert
from co3d.models import ClipModel, create_model
from co3d.runtime import Stream, open_stream
from co3d.runtime.choice import PLAIN_PRECISIONS, list_quick_backends, select_engines
from support.clip_references import make_reference
from support.registry import STEPPED, short_clip_frames
from support.streaming import make_clips, randomise_, relative_error

pytestmark = pytest.mark.slow

SIDE, SLOTS = 33, 2  # odd, and small enough to be quick
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}
REFERENCE = ("torch", "float32")
# Eager double precision is a tenth as fast as the rest, and proven elsewhere.
ENGINES = [
    engine
    for engine in select_engines(list_quick_backends(), PLAIN_PRECISIONS)
    if engine not in (REFERENCE, ("torch", "float64"))
]
NATIVE = ("i3d_r50", "slowfast_r50_8x8")
MOVED = "x3d_m"
# One row a step: what each slot does.
Event = tuple[str, str]


@cache
def _build(name: str) -> ClipModel:
    torch.manual_seed(0)
    model = create_model(name, weights="random")
    randomise_(model)
    return model


@cache
def _convert(name: str, rate: str) -> StepProgram:
    model = _build(name)
    side = max(SIDE, model.min_side_px)
    clip_shape = (3, short_clip_frames(model.card), side, side)
    return convert(model, clip_shape, rate=rate, edges="both")  # type: ignore[arg-type]


def _events(program: StepProgram) -> Iterator[Event]:
    """Masked steps, steady steps, slots of different ages, and a slot that pauses."""
    yield from [("step", "step")] * (program.masked_steps + 2)
    yield ("step", "reset")
    yield ("step", "step")
    yield from [("sleep", "step")] * (_short_clip(program) - 2)
    yield from [("step", "sleep")] * 3


def _short_clip(program: StepProgram) -> int:
    """Length of the second slot's video after its reset: whole strides, as in the training clip."""
    return max(4, program.temporal_stride)


def _play(
    stream: Stream, clip: Tensor, events: Sequence[Event]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Outputs, `valid` and `fresh` of every step, then of the flush."""
    for t, row in enumerate(events):
        active = torch.tensor([event != "sleep" for event in row])
        reset = torch.tensor([event == "reset" for event in row])
        result = stream.step(clip[:, :, t], active=active, reset=reset)
        yield result.output, result.valid, result.fresh
    for result in stream.flush():
        yield result.output, result.valid, result.fresh


def _frames(program: StepProgram, count: int) -> Tensor:
    return torch.stack(make_clips([count] * SLOTS, program.frame_shape, torch.float32))


def _worst_error(stream: Stream, clip: Tensor, events, expected) -> float:
    worst = 0.0
    for made, wanted in zip(_play(stream, clip, events), expected, strict=True):
        assert torch.equal(made[1], wanted[1])
        assert torch.equal(made[2], wanted[2])
        worst = max(worst, *(_error(made[0][slot], wanted[0][slot]) for slot in range(SLOTS)))
    return worst


def _error(made: Tensor, wanted: Tensor) -> float:
    """The relative error; outputs without a result must be zero in both."""
    if not wanted.any():
        return float("inf") if made.any() else 0.0
    return relative_error(made.double(), wanted.double())


@pytest.mark.parametrize(
    ("name", "rate"),
    [*((name, "dense") for name in STEPPED), *((name, "native") for name in NATIVE)],
)
def test_every_backend_and_precision_equals_the_eager_reference(
    name: str, rate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _convert(name, rate)
    events = list(_events(program))
    clip = _frames(program, len(events))
    reference = open_stream(program, backend="torch", precision="float32", slots=SLOTS)
    expected = list(_play(reference, clip, events))
    assert any(valid.all() for _, valid, _ in expected)

    # Edges are exact: the second slot saw a whole clip.
    start = next(t for t, row in enumerate(events) if row[1] == "reset")
    seen = clip[1:, :, start : start + _short_clip(program)]
    with torch.inference_mode():
        whole = make_reference(_build(name), monkeypatch)(seen)[0]
    last = next(output[1] for output, _, fresh in reversed(expected) if fresh[1])
    assert relative_error(last, whole) <= TOLERANCES["float32"]

    errors = {}
    for backend, precision in ENGINES:
        stream = open_stream(program, backend=backend, precision=precision, slots=SLOTS)
        errors[backend, precision] = _worst_error(stream, clip, events, expected)
    print(name, rate, {" ".join(e): f"{error:.1e}" for e, error in errors.items()})
    assert not {e: error for e, error in errors.items() if error > TOLERANCES[e[1]]}


@pytest.mark.parametrize("at", [32, 50])  # under masks, and in the steady program
def test_a_snapshot_of_a_big_network_continues_in_every_other_backend(at: int) -> None:
    program = _convert(MOVED, "dense")
    assert program.delay < 32 < program.masked_steps < 50
    clip = _frames(program, at + 4)
    streams = {
        engine: open_stream(program, backend=engine[0], precision=engine[1], slots=SLOTS)
        for engine in (REFERENCE, *ENGINES)
    }
    for stream in streams.values():
        for t in range(at):
            stream.step(clip[:, :, t])
    snapshots = {engine: stream.snapshot(0) for engine, stream in streams.items()}
    # All went through the same frames: each continuation is compared with the reference's own.
    expected = [streams[REFERENCE].step(clip[:, :, t]).output[0] for t in range(at, at + 4)]
    for source, snapshot in snapshots.items():
        for target, stream in streams.items():
            stream.reset()
            stream.restore(snapshot, slot=1)
            loosest = max(TOLERANCES[source[1]], TOLERANCES[target[1]])
            for t, wanted in zip(range(at, at + 4), expected, strict=True):
                frames = clip[:1, :, t].expand(SLOTS, -1, -1, -1)
                actual = stream.step(frames, active=torch.tensor([False, True])).output[1]
                assert _error(actual, wanted) <= loosest, (source, target)
