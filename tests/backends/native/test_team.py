"""The threads of the native kernels: they divide steps, sleep between them, and are nobody's."""

import threading
import time

import pytest
import torch
from torch import nn

from co3d.backends.native.executor import NativeExecutor
from co3d.compiler import convert
from co3d.compiler.program import StepProgram
from co3d.runtime.compiled import CompiledProgram


@pytest.fixture(scope="module")
def program() -> StepProgram:
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv3d(32, 32, 3, padding=1)]
    return convert(nn.Sequential(*layers), (3, 4, 64, 64))


def load(program: StepProgram, threads: int) -> CompiledProgram:
    executor = NativeExecutor("float32", torch.float32, threads)
    return CompiledProgram(program, executor, executor.load(program), "")


def test_many_steps_of_many_callers_at_a_time(program: StepProgram) -> None:
    """One caller has the team, the others work alone, and more threads than cores may be asked."""
    compiled = {threads: load(program, threads) for threads in (1, 2, 3, 8)}
    frames = torch.randn(40, 1, *program.frame_shape)
    alone = compiled[1].open()
    expected = [compiled[1].step([alone], frame).output for frame in frames]
    failures: list[str] = []

    def run(threads: int) -> None:
        slot = compiled[threads].open()
        for frame, wanted in zip(frames, expected, strict=True):
            if not torch.equal(compiled[threads].step([slot], frame).output, wanted):
                failures.append(f"{threads} threads")

    workers = [threading.Thread(target=run, args=(n,)) for n in (2, 3, 8, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_helpers_sleep_between_steps(program: StepProgram) -> None:
    compiled = load(program, 3)
    slot, frame = compiled.open(), torch.randn(1, *program.frame_shape)
    for _ in range(5):
        compiled.step([slot], frame)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.02


def test_frames_that_come_seldom_find_sleeping_helpers(program: StepProgram) -> None:
    compiled, alone = load(program, 3), load(program, 1)
    slots = compiled.open(), alone.open()
    for frame in torch.randn(10, 1, *program.frame_shape):
        time.sleep(0.01)
        made, expected = (
            one.step([slot], frame).output
            for one, slot in zip((compiled, alone), slots, strict=True)
        )
        assert torch.equal(made, expected)
