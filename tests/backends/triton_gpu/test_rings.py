"""State in rings, and the steps captured for each way in which it lies."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.runtime import open_stream
from co3d.runtime.runner import Runner
from co3d.runtime.stream import Stream
from support.gpu import open_anywhere, open_executor
from support.streaming import randomise_, relative_error

pytestmark = pytest.mark.slow


class Replayed:
    """Stands for a CUDA graph: runs the step again, on the tensors on which it was captured."""

    def __init__(self, function: Any, inputs: Sequence[Tensor], newest: Sequence[Tensor]) -> None:
        self.function, self.inputs, self.newest = function, inputs, newest
        self.results: list[Tensor | None] = []

    def replay(self) -> None:
        self.results[:] = self.function.run(self.inputs, self.newest)


def _count_captures(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """Let a stream capture steps, if only in appearance; what it has captured."""
    from co3d.backends.triton_gpu import rings

    def capture(self: Any, function: Any, updates: Sequence[int]) -> Any:
        past = [element for ring in self._rings for element in ring.past]
        newest = [self._rings[i].newest for i in updates]
        assert all(ring._length for ring in self._rings), "elements that move are not replayed here"
        replayed = Replayed(function, [*self._inputs[function], *past], newest)
        return rings.Captured(replayed, replayed.results)  # type: ignore[arg-type]

    monkeypatch.setattr(rings.Rings, "_capture", capture)
    past: Any = stream._runner._past
    past._captures = True
    return past._captured


def _open(program: StepProgram, slots: int) -> tuple[Stream, Stream]:
    stream = Stream(Runner(program, slots, open_executor("float32")), "interpreted")
    return stream, open_stream(program, backend="torch", slots=slots)


def _pool(stride: int = 1) -> nn.Module:
    """A pool over three frames, which no kernel of ours runs."""
    return nn.MaxPool3d((3, 1, 1), (stride, 1, 1), (1, 0, 0))


def test_dense_steps_are_captured_six_times(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(_pool(), nn.MaxPool3d((2, 1, 1), 1), nn.MaxPool3d((6, 1, 1), 1))
    program = convert(network, (3, 12, 4, 4), edges="none")
    stream, reference = _open(program, 1)
    captured = _count_captures(stream, monkeypatch)
    for _ in range(30):
        frame = torch.randn(1, 3, 4, 4)
        assert torch.equal(stream.step(frame).output.cpu(), reference.step(frame).output)
    assert len(captured) == 6


def test_slots_in_different_phases_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from co3d.backends.triton_gpu import rings

    monkeypatch.setattr(rings, "MOST_CAPTURED", 20)
    network = nn.Sequential(_pool(), _pool(2), _pool(), _pool(2), _pool())
    program = convert(network, (3, 16, 4, 4), rate="native", edges="none")
    stream, reference = _open(program, 4)
    captured = _count_captures(stream, monkeypatch)
    torch.manual_seed(0)
    for _ in range(150):
        frames, active = torch.randn(4, 3, 4, 4), torch.rand(4) < 0.9
        one, other = (each.step(frames, active=active) for each in (stream, reference))
        assert torch.equal(one.output.cpu(), other.output)
    assert len(captured) == 20


@pytest.mark.parametrize("kernel", [3, 13])
def test_a_result_that_is_remembered_is_the_newest(kernel: int) -> None:
    """Elements move on in states too long for a ring, and results must not move with them."""

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
    reference = open_stream(program, backend="torch")
    for _ in range(kernel + 3):
        frame = torch.randn(1, 3, 3, 3)
        made, expected = stream.step(frame).output, reference.step(frame).output
        for one, other in zip(made, expected, strict=True):
            if other.isfinite().all() and other.any():
                assert relative_error(one.cpu().double(), other.double()) < 1e-5
