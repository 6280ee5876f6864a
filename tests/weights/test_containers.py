"""Checkpoint files: every container that is read, and that nothing in a hostile one ever runs."""

import argparse
import contextlib
import fractions
import io
import logging
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from co3d.errors import WeightError
from co3d.weights import read_checkpoint

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


def assert_same(got: Any, expected: dict[str, torch.Tensor] = STATE) -> None:
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[key], expected[key]) for key in expected)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrapper",
    [
        *("model_state", "model_state_dict", "state_dict", "model", "net", "network", "module"),
        *("ema", "model_ema", "state_dict_ema", None),
    ],
)
def test_torch_files_are_read(tmp_path: Path, zipped: bool, wrapper: str | None) -> None:
    path = tmp_path / "file.bin"
    content = {wrapper: STATE, "optimizer": {"state": {}}, "epoch": 3} if wrapper else STATE
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_same(read_checkpoint(path).tensors)


def test_lightning_checkpoints_are_read(tmp_path: Path) -> None:
    path = tmp_path / "epoch=3.ckpt"
    content = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"net.{key}": value for key, value in STATE.items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{}]}],
        "lr_schedulers": [],
        "hyper_parameters": {"name": "x3d_s", "lr": 0.1},
    }
    torch.save(content, path)
    assert_same(read_checkpoint(path).tensors, content["state_dict"])


def test_nested_wrappers_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save({"ema": {"module": STATE, "decay": 0.9}}, path)
    assert_same(read_checkpoint(path).tensors)


def test_weights_are_preferred_to_their_average_and_a_message_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file.pth"
    torch.save({"model_ema": {"b": torch.zeros(1)}, "model": STATE}, path)
    with caplog.at_level(logging.WARNING, logger="co3d"):
        assert_same(read_checkpoint(path).tensors)
    assert "model is read, and model_ema left out" in caplog.text


@pytest.mark.parametrize("zipped", [True, False])
def test_arguments_stored_with_the_weights_are_ignored(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "file.pth"
    arguments = argparse.Namespace(lr=1.0, data=Path("/data"))
    content = {"model": STATE, "args": arguments, "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_same(read_checkpoint(path).tensors)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_refused_type_is_named(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "file.pth"
    content = {"model": STATE, "cfg": fractions.Fraction(1, 2)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightError, match=r"never run \(a fractions\.Fraction\)"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_safetensors_files_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    save_file(STATE, path, {"labels": "[]"})
    checkpoint = read_checkpoint(path)
    assert_same(checkpoint.tensors)
    assert checkpoint.metadata == {"labels": "[]"}
    assert checkpoint.origin == str(path)


class Attack:
    """Pickles to a call of os.system that leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


def write_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize(
    "write",
    [
        write_pickle,
        lambda path, content: torch.save(content, path),
        lambda path, content: torch.save(content, path, _use_new_zipfile_serialization=False),
    ],
    ids=["pickle", "torch zip", "torch legacy"],
)
def test_code_in_a_file_never_runs(tmp_path: Path, write: Any) -> None:
    path, mark = tmp_path / "x3d_s.pyth", tmp_path / "ran"
    write(path, {"model_state": {"a": torch.zeros(1)}, "evil": Attack(mark)})
    with pytest.raises(WeightError, match="never run"):
        read_checkpoint(path)
    assert not mark.exists()
    torch.load(path, weights_only=False) if write is not write_pickle else pickle.loads(
        path.read_bytes()
    )
    assert mark.exists()  # the attack itself works, so the test could fail


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(WeightError, match="state_dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", 3])
def test_content_other_than_tensors_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "file.pth"
    torch.save(content, path)
    with pytest.raises(WeightError, match="expected a mapping"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "stranger",
    [3, None, [torch.zeros(1)], torch.zeros(2, device="meta"), torch.eye(2).to_sparse()],
    ids=["int", "none", "list", "meta tensor", "sparse tensor"],
)
def test_a_value_that_is_no_plain_tensor_is_named(tmp_path: Path, stranger: object) -> None:
    path = tmp_path / "file.pth"
    torch.save({"a": torch.zeros(1), "the_stranger": stranger}, path)
    with pytest.raises(WeightError, match="the_stranger"):
        read_checkpoint(path)


def test_an_empty_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save({}, path)
    with pytest.raises(WeightError, match="nothing at all"):
        read_checkpoint(path)


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files_are_refused(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / "file.bin"
    content = encode({"a": torch.zeros(1000)}, kind)
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(WeightError, match="cannot read weights"):
        read_checkpoint(path)


def encode(state: dict[str, torch.Tensor], kind: str) -> bytes:
    if kind == "safetensors":
        return save(state)
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


def test_a_zip_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightError, match="cannot read weights"):
        read_checkpoint(path)


@pytest.mark.parametrize("claim", [4 << 30, (1 << 64) - 1, 90_000_000])
def test_a_safetensors_header_that_claims_a_huge_size_is_refused(
    tmp_path: Path, claim: int
) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(struct.pack("<Q", claim) + b'{"a":{}}')
    with pytest.raises(WeightError, match="cannot read weights"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"<!DOCTYPE html><html>", bytes(100)])
def test_files_of_another_format_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(WeightError, match="neither a torch checkpoint nor"):
        read_checkpoint(path)


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="No such file"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(WeightError, match="directory"):
        read_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_give_tensors_or_a_weight_error(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray(encode({"a": torch.zeros(4)}, kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with contextlib.suppress(WeightError):
        assert all(isinstance(t, torch.Tensor) for t in read_checkpoint(path).tensors.values())


def test_only_listed_torch_names_are_resolved(tmp_path: Path, monkeypatch: Any) -> None:
    asked = []
    monkeypatch.setattr(torch, "__getattr__", lambda name: asked.append(name), raising=False)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}X\x01\0\0\0wctorch\nno_such_part\ns.")
    (tmp_path / "w.pth").write_bytes(content.getvalue())
    with pytest.raises(WeightError, match=r"a torch\.no_such_part"):
        read_checkpoint(tmp_path / "w.pth")
    assert asked == []
