"""How candidates are measured, with fake clocks."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import nn

import co3d
from co3d.backends.contract import State
from co3d.compiler import convert
from co3d.compiler.program import StepProgram
from co3d.runtime import measure
from co3d.runtime.compiled import CompiledProgram
from co3d.runtime.measure import Measured, StepTime, measure_candidates, measure_step
from co3d.runtime.threads import choose_threads, list_thread_counts
from support.networks import small_network
from support.rule_networks import two_pathways
from support.slow import slow_but
from support.streaming import randomise_


@pytest.fixture(autouse=True)
def _do_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.time, "sleep", lambda _: None)


@pytest.fixture(scope="module")
def program() -> StepProgram:
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


class Clock:
    """A fake clock: every read advances it by some seconds of wall and processor time."""

    def __init__(self, ticks: Sequence[float]) -> None:
        self._ticks, self._now = iter(ticks), 0.0

    def __call__(self) -> tuple[float, float]:
        self._now += next(self._ticks)
        return self._now, 2 * self._now


def test_a_score_includes_processor_time() -> None:
    alone, both = StepTime(4.0, 4.0), StepTime(3.0, 6.0)
    assert alone.score == 4
    assert both.score > alone.score  # a third more speed is not worth twice the processors
    assert StepTime(2.0, 4.0).score < alone.score


def test_the_best_block_counts(program: StepProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = co3d.compile(program, backend="torch")
    # Per block a look before, one after a step, one for the cost; between blocks one at the limit.
    blocks = [[0, 5.0, 1.0], [0.1, 0, 3.0, 1.0], [0.1, 0, 9.0, 1.0]]
    cost = measure_step(compiled, 99.0, Clock([0.0, *(tick for block in blocks for tick in block)]))
    assert cost == StepTime(pytest.approx(4.0), pytest.approx(8.0))


def test_no_block_begins_after_the_time_limit(program: StepProgram) -> None:
    compiled = co3d.compile(program, backend="torch")
    cost = measure_step(compiled, 1.0, Clock([0.0, 0.0, 5.0, 1.0, 0.0]))
    assert cost.wall == pytest.approx(6.0)


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize(
    "backend", slow_but(["native", "torch", "onnxruntime", "openvino"], "native", "torch")
)
def test_measured_steps_are_steady_and_of_all_phases(
    backend: str, rate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = convert(randomise_(two_pathways()), (3, 8, 6, 6), rate=rate, edges="both")
    compiled, seen = co3d.compile(program, backend=backend), []
    step = compiled._executable.step

    def record(phase: int, is_masked: bool, states: Sequence[State], *rest):
        seen.append((phase, is_masked))
        return step(phase, is_masked, states, *rest)

    monkeypatch.setattr(compiled._executable, "step", record)
    measure_step(compiled, 0.0)
    assert {phase for phase, _ in seen} == set(range(len(program.phases)))
    one_graph = {n for n, phase in enumerate(program.phases) if phase.steady is phase.masked}
    assert all(is_masked == (phase in one_graph) for phase, is_masked in seen)


def test_measuring_changes_neither_streams_nor_random_numbers(program: StepProgram) -> None:
    compiled = co3d.compile(program, backend="native")
    slot, other = compiled.open(), compiled.open()
    frames = torch.randn(8, 1, *program.frame_shape)
    state = torch.get_rng_state()
    for frame in frames:
        measure_step(compiled, 0.0)
        made, expected = (compiled.step([one], frame).output for one in (slot, other))
        assert torch.equal(made, expected)
    assert torch.equal(state, torch.get_rng_state())


class Costs:
    """Costs by backend and threads; records what was measured."""

    def __init__(self, costs: dict[tuple[str, int], float]) -> None:
        self.costs, self.asked = costs, []

    def __call__(self, compiled: CompiledProgram, seconds: float) -> StepTime:
        threads = 2 if "2 threads" in compiled.backend else 1
        asked = compiled.backend.split()[0].strip(","), threads
        self.asked.append(asked)
        return StepTime(self.costs[asked], self.costs[asked] * threads)


def test_only_the_best_backends_are_measured_with_more_threads(program) -> None:
    costs = Costs(
        {
            ("openvino", 1): 4.0,
            ("openvino", 2): 2.5,
            ("onnxruntime", 1): 4.5,
            ("onnxruntime", 2): 2.0,
            ("native", 1): 9.0,
        }
    )
    found = measure_candidates(
        program, "float32", ("openvino", "onnxruntime", "native"), (1, 2), costs
    )
    assert [(one.backend, one.threads) for one in found] == [
        ("onnxruntime", 2),
        ("openvino", 2),
        ("openvino", 1),
        ("onnxruntime", 1),
        ("native", 1),
    ]
    assert ("native", 2) not in costs.asked  # 9 / √2 is more than 2 √2


def test_a_backend_that_fails_is_left_out(program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr("co3d.backends.onnx_runtime.store_as_onnx", fail)
    found = measure_candidates(
        program, "float32", ("onnxruntime", "torch"), (1,), lambda *_: StepTime(1.0, 1.0)
    )
    assert found == [Measured("torch", 1, StepTime(1.0, 1.0))]


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_small_networks_use_one_thread(program: StepProgram) -> None:
    assert choose_threads(program) == 1
    assert list_thread_counts(program) == (1,)
    for backend in ("native", "onnxruntime", "openvino"):
        assert "1 threads" in co3d.compile(program, backend=backend).backend
    large = convert(nn.Conv3d(64, 64, 3, padding=1), (64, 3, 40, 40))
    assert choose_threads(large) == 2
    assert list_thread_counts(large) == (1, 2)
    assert "2 threads" in co3d.compile(large, backend="native").backend


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("backend", ["torch", "native"])
def test_operators_of_torch_use_no_more_threads_than_the_backend(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    class Network(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(x)

    program = convert(Network(), (3, 4, 6, 6))
    compiled = co3d.compile(program, backend=backend)
    graph = program.phases[0].steady
    (node,) = [node for node in graph.graph.nodes if node.op == "call_function"]
    target = node.target

    def count(*args):
        counts.append(torch.get_num_threads())
        return target(*args)

    monkeypatch.setattr(node, "target", count)
    graph.recompile()
    compiled.step([compiled.open()], torch.randn(1, 3, 6, 6))
    assert counts == [1]
    assert torch.get_num_threads() == 2
