"""Checkpoints of strangers: typed errors, soon, within the memory that the file brings."""

import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from co3d.errors import WeightError
from co3d.weights import load_weights, read_checkpoint
from hostile.readers.checkpoints import READ, REFUSED


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_would_exhaust_or_hang_are_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(REFUSED[case]())
    with pytest.raises(WeightError, match=f"cannot read weights {re.escape(str(path))}: ") as info:
        read_checkpoint(path)
    assert len(str(info.value)) < 1000


@pytest.mark.parametrize("case", READ)
def test_odd_files_that_do_no_harm_are_read(case: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(READ[case]())
    checkpoint = read_checkpoint(path)
    assert [t.shape for t in checkpoint.tensors.values()] == [(3,)]
    with pytest.raises(WeightError, match="do not fit"):
        load_weights(nn.Linear(2, 2), checkpoint)


def test_pipes_and_devices_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    for path in (tmp_path / "w.pth", Path("/dev/zero")):
        with pytest.raises(WeightError, match="it is no file, but a pipe or a device"):
            read_checkpoint(path)


TENSORS = {
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "part": torch.arange(10.0)[3:7],
    "expanded": torch.ones(1, 3).expand(5, 3),
    "parameter": nn.Parameter(torch.ones(2)),
    "empty": torch.empty(0, 4),
    "scalar": torch.tensor(3),
    "flags": torch.tensor([True, False]),
    "brain": torch.ones(3, dtype=torch.bfloat16),
    "eight": torch.ones(3).to(torch.float8_e4m3fn),
    "unsigned": torch.ones(3, dtype=torch.uint16),
    "complex": torch.ones(3, dtype=torch.complex64),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_kind_are_read_as_they_were(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    state = {**TENSORS, "tied": TENSORS["part"]}
    if not zipped:  # which has no name for this type
        del state["unsigned"], state["eight"]
    state["brain"].note = "an attribute"  # type: ignore[attr-defined]
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    got = read_checkpoint(path).tensors
    assert got.keys() == state.keys()
    for name, tensor in state.items():
        assert got[name].dtype == tensor.dtype
        assert got[name].stride() == tensor.stride()
        assert got[name].tolist() == tensor.tolist()
    assert got["tied"].data_ptr() == got["part"].data_ptr()
