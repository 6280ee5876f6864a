"""Every backend and precision equals the reference backend, in whatever order slots step.

Tolerances are relative L2 errors. float32 leaves room for another order of summation. bfloat16
rounds every weight, frame and element of state to 8 bits (half a unit is 2^-9 = 0.2 %), and a
dozen layers on the way to a result add their errors up to 1 % or so; float16 keeps 11 bits, and an
eighth of that.
"""

import io
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.backends.table import BACKENDS
from co3d.compiler import StepProgram, convert
from co3d.runtime import Snapshot, Stream, open_stream
from co3d.runtime.choice import is_ready
from support.gpu import is_interpreted, open_anywhere
from support.networks import small_network
from support.recurrent_networks import ConvLSTM
from support.rule_networks import two_pathways
from support.slow import slow_but
from support.streaming import make_clips, randomise_, relative_error

SLOTS, FRAME = 2, (3, 6, 6)
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-10}
# The compiler of inductor is slow, and so is Triton's interpreter.
SLOW = ("inductor", "triton")
# int8 runs from files alone; tests/export has its tests. What is interpreted has a test of each
# kernel in other precisions.
PAIRS = [
    (name, precision)
    for name, backend in BACKENDS.items()
    for precision in backend.precisions
    if precision in TOLERANCES and (precision == "float32" or not is_interpreted(name))
]
KINDS = [pytest.param(*pair, marks=[pytest.mark.slow] if pair[0] in SLOW else []) for pair in PAIRS]
KINDS_OF_NETWORKS = ("dense", "native", "recurrent")
CASES = [(*pair, kind) for kind in KINDS_OF_NETWORKS for pair in PAIRS]
# A stream of OpenVINO takes ten seconds to open.
QUICK_CASES = [
    (name, precision, kind)
    for name, precision, kind in CASES
    if name not in SLOW and (name != "openvino" or (precision, kind) == ("float32", "dense"))
]
EVENTS = st.lists(
    st.lists(st.sampled_from(["step", "sleep", "reset"]), min_size=SLOTS, max_size=SLOTS),
    min_size=6,
    max_size=20,
)


@cache
def _program(kind: str) -> StepProgram:
    torch.manual_seed(0)
    if kind == "native":
        model = randomise_(two_pathways())
        return convert(model, (3, 8, 6, 6), rate="native", spread=True, edges="both", window=2)
    if kind == "recurrent":
        return convert(randomise_(ConvLSTM()), (3, 4, 6, 6), edges="both")
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


_STREAMS: dict[tuple[str, ...], Stream] = {}


def _stream(kind: str, backend: str, precision: str, role: str = "tested") -> Stream:
    """A stream of reset slots; it is compiled once per role."""
    key = kind, backend, precision, role
    if key not in _STREAMS:
        _STREAMS[key] = open_anywhere(
            _program(kind), backend=backend, precision=precision, slots=SLOTS
        )
    _STREAMS[key].reset()
    return _STREAMS[key]


def _state(stream: Stream, slot: int) -> list[torch.Tensor]:
    return list(stream.snapshot(slot).tensors.values())


@pytest.mark.parametrize(("backend", "precision", "kind"), slow_but(CASES, *QUICK_CASES))
def test_slots_equal_the_reference(kind: str, backend: str, precision: str) -> None:
    @settings(deadline=None, max_examples=1 if is_interpreted(backend) else 8)
    @given(events=EVENTS)
    def check(events: list[list[str]]) -> None:
        # The reference computes in double precision, so that its own rounding does not matter.
        reference = _stream(kind, "torch", "float64", "reference")
        stream = _stream(kind, backend, precision)
        clips = make_clips([len(events)] * SLOTS, FRAME, torch.float32)
        for step, row in enumerate(events):
            active = torch.tensor([event != "sleep" for event in row])
            reset = torch.tensor([event == "reset" for event in row])
            asleep = [slot for slot, event in enumerate(row) if event == "sleep"]
            before = {slot: _state(stream, slot) for slot in asleep}
            frames = torch.stack([clip[:, step] for clip in clips])
            expected = reference.step(frames, active=active, reset=reset)
            actual = stream.step(frames, active=active, reset=reset)
            assert torch.equal(actual.fresh, expected.fresh)
            assert torch.equal(actual.valid, expected.valid)
            _compare(actual.output, expected.output, precision)
            for slot in asleep:
                assert all(map(torch.equal, before[slot], _state(stream, slot)))
        for actual, expected in zip(stream.flush(), reference.flush(), strict=True):
            _compare(actual.output, expected.output, precision)

    # Otherwise the shared stream would depend on the example before.
    check()


def _compare(actual: torch.Tensor, expected: torch.Tensor, precision: str) -> None:
    actual = actual.cpu()
    assert actual.dtype == (torch.float64 if precision == "float64" else torch.float32)
    if expected.any():
        assert relative_error(actual.double(), expected) <= TOLERANCES[precision]
    else:
        assert not actual.any()


@pytest.mark.parametrize(("backend", "precision"), KINDS)
def test_later_steps_do_not_overwrite_results(backend: str, precision: str) -> None:
    """Buffers are reused, but never those of results that a caller holds."""
    stream = _stream("dense", backend, precision)
    steps = 14 if is_interpreted(backend) else 30
    (clip,) = make_clips([steps], FRAME, torch.float32)
    held, copies = [], []
    for t in range(steps):
        held.append(stream.step(clip[None, :, t].expand(SLOTS, -1, -1, -1)).output)
        copies.append(held[-1].clone())
    assert all(map(torch.equal, held, copies))
    torch.save(held, io.BytesIO())


@pytest.mark.parametrize(("backend", "precision"), KINDS)
@pytest.mark.parametrize("at", [3, 15])  # under masks, and in the steady program
def test_a_snapshot_continues_in_every_other_backend(
    backend: str, precision: str, at: int, tmp_path
) -> None:
    (clip,) = make_clips([24], FRAME, torch.float32)
    frames = [clip[None, :, t].expand(SLOTS, -1, -1, -1) for t in range(24)]
    source = _stream("dense", backend, precision, "source")
    for frame in frames[:at]:
        source.step(frame)
    source.snapshot(0).save(tmp_path / "snapshot")
    snapshot = Snapshot.load(tmp_path / "snapshot")
    expected = [source.step(frame).output[0] for frame in frames[at:]]
    for other, other_precision in PAIRS:
        if (other in SLOW and other != backend) or not is_ready(other):
            continue  # slow backends are sources only
        stream = _stream("dense", other, other_precision)
        stream.restore(snapshot, slot=1)
        loosest = max(precision, other_precision, key=TOLERANCES.__getitem__)
        for frame, wanted in zip(frames[at:], expected, strict=True):
            actual = stream.step(frame).output[1]
            assert (
                relative_error(actual.cpu().double(), wanted.cpu().double()) <= TOLERANCES[loosest]
            )


class Remembered(torch.nn.Module):
    """Has booleans as state, and results that are elements of state, or views of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv3d(3, 4, 3, padding=1)
        self.second = torch.nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = self.first(clip)
        return self.second(made) * (made > 0), made, made.flatten(3), made > 0


@pytest.mark.parametrize(("backend", "precision"), KINDS)
def test_results_may_be_written_to(backend: str, precision: str) -> None:
    torch.manual_seed(0)
    program = convert(randomise_(Remembered()), (3, 4, 6, 6))
    stream = open_anywhere(program, backend=backend, precision=precision)
    reference = open_stream(program, backend="torch", precision="float64")
    for _ in range(8):
        frame = torch.randn(1, *FRAME)
        expected, actual = reference.step(frame), stream.step(frame)
        for one, other in zip(actual.output[:3], expected.output[:3], strict=True):
            _compare(one, other, precision)
        assert actual.output[3].is_floating_point()
        with torch.inference_mode():  # in which some backends made them
            for output in actual.output:
                output.zero_()
