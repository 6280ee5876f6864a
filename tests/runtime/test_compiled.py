"""Compiled programs: slots are opened, stepped, finished and closed, and misuse is refused."""

import gc
import threading
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import co3d
from co3d.backends.table import BACKENDS
from co3d.compiler import StepProgram, convert
from co3d.errors import InputShapeError, OptionError, StreamError
from co3d.runtime import CompiledProgram, Slot, open_stream
from support.networks import small_network
from support.streaming import randomise_

FRAME = (3, 6, 6)
ON_THE_CPU = [
    name for name, backend in BACKENDS.items() if backend.runs_on("cpu") and name != "inductor"
]


@cache
def make_program(edges: str = "both", window: int | None = None) -> StepProgram:
    torch.manual_seed(0)
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges=edges, window=window)  # type: ignore[arg-type]


@cache
def make_compiled(backend: str = "native") -> CompiledProgram:
    return co3d.compile(make_program(), backend=backend)


def make_frames(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *FRAME, generator=torch.Generator().manual_seed(seed))


def play(compiled: CompiledProgram, slot: Slot, frames: Tensor) -> list[Tensor]:
    return [compiled.step([slot], frame[None]).output[0] for frame in frames]


@pytest.mark.parametrize("backend", ON_THE_CPU)
def test_rows_are_in_the_order_of_the_slots(backend: str) -> None:
    compiled = make_compiled(backend)
    first, second = compiled.open(), compiled.open()
    a, b = make_frames(12), make_frames(12, seed=1)
    alone = [play(compiled, compiled.open(), frames) for frames in (a, b)]
    for t in range(12):
        slots, frames = [first, second], torch.stack([a[t], b[t]])
        if t % 2:
            slots, frames = slots[::-1], frames.flip(0)
        made = compiled.step(slots, frames).output
        wanted = torch.stack([alone[0][t], alone[1][t]])
        assert torch.equal(made, wanted.flip(0) if t % 2 else wanted)


def test_a_step_of_no_slot_has_no_rows() -> None:
    result = make_compiled().step([], torch.zeros(0, *FRAME))
    assert result.output.shape[0] == 0
    assert result.valid.shape == (0,)


def test_flushes_interleave_with_steps() -> None:
    compiled, frames = make_compiled(), make_frames(16)
    ended, alive = compiled.open(), compiled.open()
    expected = play(compiled, compiled.open(), frames)
    stream = open_stream(make_program(), backend="native")
    for frame in frames[:6]:
        stream.step(frame[None])
    flushed = [result.output[0] for result in stream.flush()]
    made = [
        compiled.step([ended, alive], frame.expand(2, *FRAME)).output[1] for frame in frames[:6]
    ]
    assert ended.finish() == len(flushed) == ended.remaining
    for frame, wanted in zip(frames[6:], flushed, strict=False):
        result = compiled.step([ended, alive], torch.stack([torch.full(FRAME, 9.0), frame]))
        assert torch.equal(result.output[0], wanted)
        made.append(result.output[1])
    assert ended.remaining == 0
    assert all(map(torch.equal, made, expected))
    with pytest.raises(StreamError, match="its video was flushed; reset it first"):
        compiled.step([ended], frames[:1])
    ended.reset()
    assert torch.equal(compiled.step([ended], frames[:1]).output[0], expected[0])


@pytest.mark.parametrize("frames", [0, 4])
def test_finishing_a_program_without_end_edges_changes_nothing(frames: int) -> None:
    edges = "start" if frames else "both"
    compiled = co3d.compile(make_program(edges), backend="torch")
    slot = compiled.open()
    play(compiled, slot, make_frames(frames))
    assert slot.finish() == 0
    assert slot.remaining is None
    compiled.step([slot], make_frames(1))


def test_a_copy_made_during_a_flush_continues_it(tmp_path) -> None:
    compiled, frames = make_compiled(), make_frames(8)
    slot, other = compiled.open(), compiled.open()
    play(compiled, slot, frames)
    steps = slot.finish()
    blank = torch.zeros(1, *FRAME)
    compiled.step([slot], blank)
    slot.snapshot().save(tmp_path / "snapshot")
    other.restore(co3d.Snapshot.load(tmp_path / "snapshot"))
    assert other.remaining == slot.remaining == steps - 1
    for _ in range(steps - 1):
        both = compiled.step([slot, other], blank.expand(2, *FRAME)).output
        assert torch.equal(both[0], both[1])


def test_misuse_is_refused_and_changes_nothing() -> None:
    compiled, frames = make_compiled(), make_frames(3)
    slot, closed = compiled.open(), compiled.open()
    closed.close()
    closed.close()
    compiled.step([slot], frames[:1])
    with pytest.raises(OptionError, match="a slot is named twice"):
        compiled.step([slot, slot], frames[:2])
    with pytest.raises(
        InputShapeError, match=r"expected floating-point frames .* = \(1, 3, 6, 6\)"
    ):
        compiled.step([slot], frames[:2])
    with pytest.raises(StreamError, match="it is closed; open another one"):
        compiled.step([slot, closed], frames[:2])
    foreign = co3d.compile(make_program(window=5), backend="native").open()
    with pytest.raises(StreamError, match="of another compiled program"):
        compiled.step([slot, foreign], frames[:2])
    assert slot.age == 1
    assert torch.equal(
        compiled.step([slot], frames[1:2]).output[0], play(compiled, compiled.open(), frames)[1]
    )


def test_a_slot_serves_one_thread_at_a_time() -> None:
    compiled, frames = make_compiled("torch"), make_frames(1)
    slot, begun, done = compiled.open(), threading.Event(), threading.Event()
    executable = compiled._executable
    step = executable.step

    def wait(*args):
        begun.set()
        assert done.wait(10)
        return step(*args)

    executable.step = wait  # type: ignore[method-assign]
    try:
        thread = threading.Thread(target=lambda: compiled.step([slot], frames))
        thread.start()
        assert begun.wait(10)
        for use in (slot.reset, slot.snapshot, slot.close, lambda: compiled.step([slot], frames)):
            with pytest.raises(StreamError, match="another thread is using it"):
                use()
    finally:
        done.set()
        thread.join()
        del executable.step
    assert slot.age == 1


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_slot_cannot_continue_after_an_interrupted_step(backend: str, monkeypatch) -> None:
    compiled, frames = make_compiled(backend), make_frames(6)
    slot, other = compiled.open(), compiled.open()
    expected = play(compiled, compiled.open(), frames)
    play(compiled, slot, frames[:3])
    saved = slot.snapshot()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compiled._executable, "step", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            compiled.step([slot], frames[:1])
    for use in (slot.snapshot, slot.finish, lambda: compiled.step([slot, other], frames[:2])):
        with pytest.raises(StreamError, match=r"interrupted.*reset it, or restore a snapshot"):
            use()
    slot.restore(saved)
    assert torch.equal(play(compiled, slot, frames[3:4])[0], expected[3])
    assert torch.equal(play(compiled, other, frames[:1])[0], expected[0])


@pytest.mark.parametrize("steps", [40, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ON_THE_CPU)
def test_threads_can_step_different_slots_at_once(backend: str, steps: int) -> None:
    """Eight threads get the results that each gets alone."""
    compiled, threads = make_compiled(backend), 8
    frames = make_frames(steps)
    expected = play(compiled, compiled.open(), frames)
    wrong: list[int] = []

    def run(number: int) -> None:
        with compiled.open() as slot, compiled.open() as other:
            for t in range(steps):
                made = compiled.step([slot], frames[t : t + 1]).output[0]
                if t % (number + 2) == 0:
                    other.restore(slot.snapshot())
                    other.reset()
                if not torch.equal(made, expected[t]):
                    wrong.append(number)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_stream_frees_its_slots() -> None:
    with open_stream(make_program(), slots=3, backend="native") as stream:
        pool = stream.compiled._executable._pool  # type: ignore[attr-defined]
        assert not any(pool._free.values())
    assert sum(map(len, pool._free.values())) == len(pool._memory)
    with pytest.raises(StreamError, match="closed"):
        stream.step(torch.zeros(3, *FRAME))
    gc.collect()


def test_reprs_are_short() -> None:
    compiled = make_compiled()
    slot = compiled.open()
    assert repr(slot) == "Slot(Classifier, age=0)"
    assert repr(compiled).startswith("CompiledProgram(Classifier, native, float32")
    slot.close()
    assert repr(slot) == "Slot(Classifier, closed)"


class Kernels(nn.Module):
    """Operators of the native kernels alone, so that the library steps several slots per call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 16, (1, 3, 3), padding=(0, 1, 1))
        self.depthwise = nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), groups=16)
        self.expand = nn.Conv3d(16, 32, 1)
        self.wide = nn.Conv3d(32, 32, 3, padding=1, groups=32)
        self.last = nn.Conv3d(32, 5, 1)

    def forward(self, clip: Tensor) -> Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.first(clip))))
        return self.last(torch.relu(self.wide(torch.relu(self.expand(x)))))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_slots_stepped_as_a_batch_equal_each_alone(
    threads: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("co3d.runtime.threads.SMALL_NETWORK_MACS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        program = convert(randomise_(Kernels()), (3, 6, 6, 6))
        compiled = co3d.compile(program, backend="native", precision=precision)
    finally:
        torch.set_num_threads(before)
    tables = compiled._executable._tables  # type: ignore[attr-defined]
    assert tables[0, False].can_step_together
    slots, alone = ([compiled.open() for _ in range(5)] for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    for t in range(30):
        count = int(torch.randint(1, 6, (), generator=generator))
        order = torch.randperm(5, generator=generator)[:count].tolist() if t > 3 else range(5)
        frames = torch.randn(len(order), *FRAME, generator=generator)
        made = compiled.step([slots[i] for i in order], frames).output
        for row, i in enumerate(order):
            expected = compiled.step([alone[i]], frames[row : row + 1]).output[0]
            assert torch.equal(made[row], expected)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_slot_cannot_continue_after_an_interrupted_reset(backend: str, monkeypatch) -> None:
    compiled, frames = make_compiled(backend), make_frames(2)
    slot = compiled.open()
    compiled.step([slot], frames[:1])

    def interrupt(_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(slot.state), "reset", interrupt)
        with pytest.raises(KeyboardInterrupt):
            slot.reset()
    with pytest.raises(StreamError, match="interrupted"):
        compiled.step([slot], frames[:1])
    slot.reset()
    compiled.step([slot], frames[:1])


@pytest.mark.parametrize(
    "frames",
    [
        None,
        [[0.0]],
        torch.zeros(1, *FRAME, device="meta"),
        torch.zeros(1, *FRAME).to_sparse(),
        torch.zeros(1, *FRAME, dtype=torch.uint8),
    ],
)
def test_frames_with_a_wrong_dtype_change_nothing(frames) -> None:
    compiled = make_compiled()
    slot = compiled.open()
    with pytest.raises(InputShapeError, match="expected floating-point frames"):
        compiled.step([slot], frames)
    compiled.step([slot], make_frames(1))


def test_frames_may_be_views() -> None:
    compiled, frames = make_compiled(), make_frames(1)
    expected = compiled.step([compiled.open()], -frames).output
    assert torch.equal(compiled.step([compiled.open()], torch._neg_view(frames)).output, expected)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_the_callers_torch_modes_change_nothing(backend: str) -> None:
    compiled, frames = make_compiled(backend), make_frames(1)
    expected = compiled.step([compiled.open()], frames).output
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled.step([compiled.open()], frames).output, expected)


def test_a_slot_restored_during_a_flush_continues_it() -> None:
    compiled, frames = make_compiled("torch"), make_frames(6)
    slot = compiled.open()
    play(compiled, slot, frames)
    steps = slot.finish()
    blank = torch.zeros(1, *FRAME)
    compiled.step([slot], blank)
    stream = open_stream(make_program(), backend="torch")
    stream.restore(slot.snapshot())
    expected = [compiled.step([slot], blank).output for _ in range(steps - 1)]
    made = [result.output for result in stream.flush()]
    assert len(made) == len(expected)
    assert all(map(torch.equal, made, expected))
    assert stream.flush() == []


@pytest.mark.parametrize(("age", "end"), [(5, 40), (5, -1), (-1, 1 << 60), (500, 3)])
def test_impossible_clocks_are_refused(age: int, end: int) -> None:
    slot = make_compiled("torch").open()
    snapshot = replace(slot.snapshot(), age=age, end=end)
    with pytest.raises(StreamError, match="cannot restore: the snapshot is of age"):
        slot.restore(snapshot)


def test_slots_in_reference_cycles_are_collected_while_others_open() -> None:
    """The garbage collector may run while memory blocks are allocated, and free others."""
    compiled = make_compiled()

    class Holder:
        def __init__(self) -> None:
            self.me, self.slot = self, compiled.open()

    for _ in range(3000):
        Holder()
