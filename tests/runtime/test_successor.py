"""Streams step in PyTorch while native kernels are compiled, then switch to the kernels."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn

import co3d
from co3d.errors import MissingPackageError
from co3d.runtime import opening

CLIP = (3, 4, 6, 6)


class Building:
    """A fake compiler process, which ends when the test says so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.is_through, self._error = threading.Event(), error

    def wait(self) -> None:
        assert self.is_through.wait(60)
        if self._error is not None:
            raise self._error


@pytest.fixture
def program() -> co3d.StepProgram:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 4, 3))
    return co3d.convert(network, CLIP)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Building]:
    def start(error: Exception | None = None) -> Building:
        building = Building(error)
        monkeypatch.setattr(opening, "must_be_built", lambda: True)
        monkeypatch.setattr(opening, "start_building", lambda: building)
        return building

    return start


def test_streams_switch_to_the_kernels_when_they_are_compiled(program, build) -> None:
    building = build()
    compiled = co3d.compile(program, meanwhile=True)
    assert compiled.backend.startswith("torch")
    assert "until our kernels are compiled" in compiled.backend
    reference = co3d.compile(program, backend="torch")
    ours, theirs = [[one.open(), one.open()] for one in (compiled, reference)]
    for step in range(12):
        frames = torch.randn(2, 3, 6, 6)
        if step == 5:
            building.is_through.set()
            compiled._successor.wait()
        # The second slot rests for a while, and moves when it steps again.
        rows = slice(0, 1 if 4 <= step < 8 else 2)
        actual = compiled.step(ours[rows], frames[rows]).output
        expected = reference.step(theirs[rows], frames[rows]).output
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert compiled.backend.startswith("native")
    assert compiled._successor is None
    assert ours[0].snapshot().age == 12


def test_streams_stay_on_pytorch_when_kernels_cannot_be_compiled(
    program, build, caplog: pytest.LogCaptureFixture
) -> None:
    building = build(MissingPackageError("it cannot be compiled"))
    stream = co3d.open_stream(program, meanwhile=True)
    building.is_through.set()
    stream.compiled._successor.wait()
    stream.step(torch.zeros(1, 3, 6, 6))
    assert stream.backend.startswith("torch")
    assert "no faster backend: it cannot be compiled" in caplog.text


def test_compiled_kernels_are_used_at_once(program) -> None:
    assert co3d.open_stream(program, meanwhile=True).backend.startswith("native")


def test_a_named_backend_waits_for_its_kernels(program, build) -> None:
    build()
    assert co3d.open_stream(program, backend="torch", meanwhile=True).compiled._successor is None
