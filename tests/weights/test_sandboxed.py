"""Checkpoints that are read in a sandbox's process: the same tensors, warnings and errors."""

import logging
import os
import signal
from pathlib import Path

import pytest
import torch

import co3d
from co3d.errors import SandboxError, WeightError
from co3d.weights import checkpoints, read_checkpoint
from co3d.weights.containers import read_container


@pytest.fixture(scope="module", autouse=True)
def _sandbox():
    with co3d.read_in_sandbox():
        yield


def kill_itself(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_sandbox_returns_the_same_tensors_and_warnings(tmp_path, caplog):
    shared = torch.arange(12.0).reshape(3, 4)
    state = {
        "a": shared,
        "b": shared[1:],
        "turned": torch.rand(3, 5).t(),
        "half": torch.rand(4).half(),
        "count": torch.tensor(7),
        "complex": torch.rand(2, dtype=torch.complex64),
        "empty": torch.zeros(0, 3),
    }
    path = tmp_path / "w.pth"
    torch.save({"model": state, "net": {}}, path)
    with caplog.at_level(logging.WARNING, logger="co3d"):
        got = read_checkpoint(path)
    assert "model is read, and net left out" in caplog.text
    expected = read_container(path)
    assert got.origin == expected.origin
    assert list(got.tensors) == sorted(expected.tensors)
    for key, tensor in got.tensors.items():
        assert tensor.dtype == expected.tensors[key].dtype
        assert torch.equal(tensor, expected.tensors[key])


def test_the_sandbox_raises_the_same_errors(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"<html>")
    with pytest.raises(WeightError, match="saved web page"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_file_that_crashes_its_reader_raises_a_typed_error(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "copy_plain", kill_itself)
    with pytest.raises(SandboxError, match=r"cannot read weights .*w\.pth: .*exit code -9"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_relative_path_is_read(tmp_path, monkeypatch):
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    assert read_checkpoint(Path("w.pth")).origin == "w.pth"
