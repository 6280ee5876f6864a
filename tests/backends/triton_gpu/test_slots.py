"""Slots in pools do not depend on each other; and when steps are captured."""

import gc
import random
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from co3d.backends.torch_eager import TorchExecutor
from co3d.compiler import StepProgram, convert
from co3d.errors import StreamError
from co3d.runtime.compiled import CompiledProgram
from support.gpu import open_anywhere, open_executor
from support.streaming import randomise_, relative_error

pytestmark = pytest.mark.slow
FRAME = (3, 4, 3)


class Recordings:
    """Stands for CUDA graphs: a replay runs the step again and overwrites the same results."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from co3d.backends.triton_gpu import capture

        self.made = 0
        self.replayed = 0
        monkeypatch.setattr(capture.Recorder, "record", lambda _, run: self.record(run))

    def record(self, run: Callable[[], list[Tensor | None]]) -> Callable[[], list[Tensor | None]]:
        self.made += 1
        results = run()

        def replay() -> list[Tensor | None]:
            self.replayed += 1
            for result, made in zip(results, run(), strict=True):
                if result is not None and made is not None:
                    result.copy_(made)
            return results

        return replay


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    pytest.importorskip("triton")
    return Recordings(monkeypatch)


@cache
def make_program(rate: Any = "dense", *, stride: int = 1) -> StepProgram:
    """Temporal convolutions that kernels run, and a pool over three frames that PyTorch runs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0)),
        nn.SiLU(),
        nn.Conv3d(4, 4, 3, (stride, 1, 1), 1, groups=4),
        nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0)),
        nn.Conv3d(4, 5, (2, 1, 1), padding=(1, 0, 0)),
    )
    return convert(randomise_(network), (3, 12, *FRAME[1:]), rate=rate, edges="both")


def load(program: StepProgram) -> CompiledProgram:
    executor = open_executor("float32")
    return CompiledProgram(program, executor, executor.load(program), "triton")


def load_reference(program: StepProgram) -> CompiledProgram:
    """The same program in double precision; it steps each slot alone."""
    executor = TorchExecutor(torch.float64, torch.device("cpu"), 1)
    return CompiledProgram(program, executor, executor.load(program), "reference")


def assert_alike(made: Tensor, expected: Tensor) -> None:
    made = made.cpu().double()
    if expected.any():
        assert relative_error(made, expected) < 1e-5
    else:
        assert not made.any()


def get_pools(compiled: CompiledProgram) -> Any:
    executable: Any = compiled._executable
    return executable._pools


class Pair:
    """A slot, and the same stream in the reference."""

    def __init__(self, compiled: CompiledProgram, reference: CompiledProgram) -> None:
        self.slot, self.other = compiled.open(), reference.open()

    def each(self, act: Callable[[Any], object]) -> None:
        act(self.slot)
        act(self.other)


def step(compiled: CompiledProgram, reference: CompiledProgram, pairs: Sequence[Pair]) -> None:
    """Step some pairs by a frame each, and compare."""
    frames = torch.randn(len(pairs), *FRAME)
    made = compiled.step([pair.slot for pair in pairs], frames)
    expected = reference.step([pair.other for pair in pairs], frames)
    assert torch.equal(made.fresh, expected.fresh)
    assert torch.equal(made.valid, expected.valid)
    for one, other in zip(made.output, expected.output, strict=True):
        assert_alike(one, other)


@pytest.mark.parametrize(("rate", "stride"), [("dense", 1), ("native", 2)])
def test_each_slot_steps_as_if_alone(rate: str, stride: int, recordings: Recordings) -> None:
    """Slots open, pause, step in any batch and order, reset, are restored, close and reopen."""
    program = make_program(rate, stride=stride)
    compiled, reference = load(program), load_reference(program)
    chance = random.Random(0)
    torch.manual_seed(0)
    pairs = [Pair(compiled, reference)]
    for _ in range(70):
        event = chance.choice(["open", "close", "reset", "move", *["step"] * 8])
        one = chance.choice(pairs)
        if event == "open" and len(pairs) < 6:
            pairs.append(Pair(compiled, reference))
        elif event == "close" and len(pairs) > 1:
            one.each(lambda slot: slot.close())
            pairs.remove(one)
        elif event == "reset":
            one.each(lambda slot: slot.reset())
        elif event == "move":
            other = chance.choice(pairs)
            other.slot.restore(one.slot.snapshot())
            other.other.restore(one.other.snapshot())
        else:
            step(compiled, reference, chance.sample(pairs, chance.randint(1, len(pairs))))
    for pair in pairs:  # to the end of each video
        pair.each(lambda slot: slot.finish())
        while pair.slot.remaining:
            step(compiled, reference, [pair])
    assert recordings.replayed > recordings.made


def test_slots_that_are_not_named_are_not_touched(recordings: Recordings) -> None:
    compiled = load(make_program())
    resting, active = [compiled.open() for _ in range(2)], [compiled.open() for _ in range(3)]
    torch.manual_seed(0)
    for _ in range(3):
        compiled.step(resting, torch.randn(2, *FRAME))
    before = [slot.state.read() for slot in resting]
    for _ in range(5):
        compiled.step(active, torch.randn(3, *FRAME))
    for slot, elements in zip(resting, before, strict=True):
        for past, old in zip(slot.state.read(), elements, strict=True):
            assert all(map(torch.equal, past, old))


def test_padding_of_a_batch_has_no_effect(recordings: Recordings) -> None:
    """Three slots step as four: the fourth is the spare slot, whose content must not matter."""
    program = make_program()
    compiled, reference = load(program), load_reference(program)
    pairs = [Pair(compiled, reference) for _ in range(3)]
    torch.manual_seed(0)
    for _ in range(8):
        executable: Any = compiled._executable
        with torch.inference_mode():
            for pool, ring in zip(
                get_pools(compiled)._pools, get_pools(compiled).rings, strict=True
            ):
                pool[: ring.length] = torch.nan
            for batch in executable._batches.values():
                batch.frames[0].fill_(torch.nan)
        step(compiled, reference, pairs)


def test_a_reused_slot_starts_anew(recordings: Recordings) -> None:
    program = make_program()
    compiled, reference = load(program), load_reference(program)
    torch.manual_seed(0)
    first = compiled.open()
    place = first.state.slot  # type: ignore[attr-defined]
    for _ in range(4):
        compiled.step([first], torch.randn(1, *FRAME))
    first.close()
    pair = Pair(compiled, reference)
    assert pair.slot.state.slot == place
    for spec, past in zip(program.states, pair.slot.state.read(), strict=True):
        assert len(past) == spec.depth
        assert all(torch.equal(e, torch.full_like(e, spec.fill)) for e in past)
    for _ in range(5):
        step(compiled, reference, [pair])


def test_elements_are_read_as_they_were_written() -> None:
    program = make_program()
    compiled = load(program)
    slot, other = compiled.open(), compiled.open()
    torch.manual_seed(0)
    for _ in range(2):
        compiled.step([slot], torch.randn(1, *FRAME))
    elements = [[torch.randn(spec.shape) for _ in range(spec.depth)] for spec in program.states]
    before = other.state.read()
    slot.state.write(elements)
    read = slot.state.read()
    slot.state.reset()  # what was read are copies
    for past, wanted in zip(read, elements, strict=True):
        assert all(torch.equal(a.cpu(), b) for a, b in zip(past, wanted, strict=True))
    for past, wanted in zip(other.state.read(), before, strict=True):
        assert all(map(torch.equal, past, wanted))


def test_a_step_is_captured_once_for_each_size(recordings: Recordings) -> None:
    """However far the rings have advanced, and whichever slots step."""
    compiled = load(make_program())
    slots = [compiled.open() for _ in range(5)]
    for _ in range(compiled.program.masked_steps):
        compiled.step(slots, torch.randn(5, *FRAME))
    assert recordings.made == 1  # of eight slots, with masks
    for count in (1, 2, 1, 4, 3, 5, 2, 5):
        for _ in range(2):
            compiled.step(random.Random(count).sample(slots, count), torch.randn(count, *FRAME))
    assert recordings.made == 1 + 4  # of 1, 2, 4 and 8


def test_later_steps_do_not_overwrite_results(recordings: Recordings) -> None:
    compiled = load(make_program())
    slots = [compiled.open() for _ in range(3)]
    held, copies = [], []
    for _ in range(6):
        held.append(compiled.step(slots, torch.randn(3, *FRAME)).output)
        copies.append(held[-1].clone())
    assert all(map(torch.equal, held, copies))


def test_more_slots_than_the_largest_size_step_in_several_batches(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from co3d.backends.triton_gpu import executable

    monkeypatch.setattr(executable, "SIZES", (1, 2))
    program = make_program()
    compiled, reference = load(program), load_reference(program)
    pairs = [Pair(compiled, reference) for _ in range(5)]
    torch.manual_seed(0)
    for _ in range(program.masked_steps):
        step(compiled, reference, pairs)
    assert recordings.made == 2  # of one slot and of two, with masks
    assert recordings.replayed == program.masked_steps * 3


def test_growing_pools_keep_their_slots_and_discard_captures(recordings: Recordings) -> None:
    program = make_program()
    compiled, reference = load(program), load_reference(program)
    torch.manual_seed(0)
    pairs = [Pair(compiled, reference)]
    for _ in range(3):
        step(compiled, reference, pairs)
    old = [weakref.ref(pool) for pool in get_pools(compiled)._pools]
    made = recordings.made
    pairs.append(Pair(compiled, reference))
    gc.collect()
    assert not any(pool() is not None for pool in old)
    step(compiled, reference, pairs[:1])
    assert recordings.made == made + 1
    for _ in range(3):
        step(compiled, reference, pairs)
    assert get_pools(compiled).pushed.shape[1] == 3  # two slots, and the spare one
    pairs.append(Pair(compiled, reference))
    assert get_pools(compiled).pushed.shape[1] == 5
    step(compiled, reference, pairs)


def test_compiling_another_size_changes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """While kernels compile, PyTorch's operators run and write to the rows of a batch."""
    from co3d.backends.triton_gpu.launches import Launcher

    def compile_kernels(self: Any, call: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Launcher, "_launch", lambda *_, **__: None)
            call()

    program = make_program()
    compiled = load(program)
    slots = [compiled.open() for _ in range(2)]
    for _ in range(5):
        compiled.step(slots, torch.randn(2, *FRAME))
    before = [slot.state.read() for slot in slots]
    monkeypatch.setattr(Launcher, "compile_kernels", compile_kernels)
    executable: Any = compiled._executable
    executable._compiled.clear()
    with executable._on_device():
        for key in executable._graphs:
            executable._prepare(*key, 2)
    for slot, elements in zip(slots, before, strict=True):
        for past, old in zip(slot.state.read(), elements, strict=True):
            assert all(map(torch.equal, past, old))


def test_a_step_that_fails_leaves_states_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    from co3d.backends.triton_gpu.fused_graph import FusedGraph

    program = make_program()
    compiled, reference = load(program), load_reference(program)
    pairs = [Pair(compiled, reference) for _ in range(2)]
    torch.manual_seed(0)
    for _ in range(4):
        step(compiled, reference, pairs)
    run = FusedGraph.run

    def fail(*args: Any) -> None:
        run(*args)
        raise RuntimeError("out of memory")

    before = pairs[0].slot.state.read()
    with monkeypatch.context() as patch:
        patch.setattr(FusedGraph, "run", fail)
        compiled._executable._recorded.clear()  # type: ignore[attr-defined]
        states = [pair.slot.state for pair in pairs]
        clocks = [torch.tensor([4, 4]), torch.tensor([1 << 30] * 2)]
        with pytest.raises(RuntimeError, match="out of memory"):
            compiled._executable.step(0, True, states, [torch.randn(2, *FRAME)], clocks)
    for past, old in zip(pairs[0].slot.state.read(), before, strict=True):
        assert all(map(torch.equal, past, old))
    compiled._executable._recorded.clear()  # type: ignore[attr-defined]
    for _ in range(4):
        step(compiled, reference, pairs)


def test_a_closed_state_is_refused_and_its_slot_is_freed_once() -> None:
    compiled = load(make_program())
    executable: Any = compiled._executable
    state, other = executable.open(), executable.open()
    state.close()
    state.close()
    for act in (state.read, state.reset, lambda: state.write([])):
        with pytest.raises(StreamError, match="closed"):
            act()
    with pytest.raises(StreamError, match="closed"):
        executable.step(0, False, [state], [torch.zeros(1, *FRAME)], ())
    places = [executable.open().slot for _ in range(1)]
    assert len({*places, other.slot}) == 2


def test_a_garbage_collected_state_frees_its_slot() -> None:
    executable: Any = load(make_program())._executable
    place = executable.open().slot
    gc.collect()
    assert executable.open().slot == place


def test_threads_step_their_own_slots() -> None:
    program = make_program()
    compiled, reference = load(program), load_reference(program)
    pairs = [Pair(compiled, reference) for _ in range(3)]
    failures: list[BaseException] = []

    def run(pair: Pair) -> None:
        try:
            for _ in range(6):
                step(compiled, reference, [pair])
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(pair,)) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("kernel", [3, 13])
def test_a_result_that_is_also_state_is_a_copy(kernel: int) -> None:
    """A result that a caller holds stays when its element of state is overwritten later."""

    class Remembered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv3d(3, 4, 1)
            self.second = nn.Conv3d(4, 4, (kernel, 1, 1), padding=(kernel // 2, 0, 0))

        def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
            made = self.first(clip)
            return self.second(made), made

    torch.manual_seed(0)
    program = convert(randomise_(Remembered()), (3, kernel + 1, 3, 3), edges="none")
    stream = open_anywhere(program, backend="triton")
    compiled = load_reference(program)
    reference = compiled.open()
    for _ in range(kernel + 3):
        frame = torch.randn(1, 3, 3, 3)
        made, expected = stream.step(frame).output, compiled.step([reference], frame).output
        for one, other in zip(made, expected, strict=True):
            if other.isfinite().all() and other.any():
                assert relative_error(one.cpu().double(), other.double()) < 1e-5
