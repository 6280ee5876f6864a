"""Snapshots: a stream continues exactly in another slot or process."""

import json
import os
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from co3d.compiler import StepProgram, convert
from co3d.errors import OutputError, StreamError
from co3d.runtime import Snapshot, Stream, open_stream
from support.networks import small_network
from support.streaming import make_clips, randomise_

FRAME = (3, 6, 6)
TESTS = Path(__file__).parents[1]

CONTINUE = """
import sys, torch
sys.path.insert(0, {tests!r})
from support.networks import small_network
from support.streaming import make_clips, randomise_
from co3d.runtime import Snapshot, open_stream
from co3d.compiler import convert

torch.set_num_threads(1)
torch.manual_seed(0)
program = convert(randomise_(small_network()), (3, 4, 6, 6), window=5)
stream = open_stream(program)
(clip,) = make_clips([16], (3, 6, 6), torch.float32)
for at in {cuts}:
    stream.restore(Snapshot.load(f"{folder}/{{at}}.snapshot"))
    outputs = [stream.step(clip[None, :, t]).output for t in range(at, 16)]
    torch.save(outputs, f"{folder}/{{at}}.pt")
"""


@cache
def _program(seed: int = 0, window: int = 5) -> StepProgram:
    torch.manual_seed(seed)
    return convert(randomise_(small_network(), seed), (3, 4, 6, 6), window=window)


def _steps(stream: Stream, clip: torch.Tensor, start: int, stop: int) -> list[torch.Tensor]:
    return [stream.step(clip[None, :, t]).output for t in range(start, stop)]


def test_a_stream_continues_in_a_new_process_bit_for_bit(tmp_path: Path) -> None:
    cuts = 2, 12  # under masks, and in the steady program
    (clip,) = make_clips([16], FRAME, torch.float32)
    stream = open_stream(_program())
    outputs = []
    for t in range(16):
        if t in cuts:
            stream.snapshot().save(tmp_path / f"{t}.snapshot")
        outputs += _steps(stream, clip, t, t + 1)
    script = CONTINUE.format(tests=str(TESTS), folder=tmp_path, cuts=cuts)
    subprocess.run([sys.executable, "-c", script], check=True)
    for at in cuts:
        actual = torch.load(tmp_path / f"{at}.pt", weights_only=True)
        assert len(actual) == 16 - at
        assert all(map(torch.equal, actual, outputs[at:]))


def test_a_stream_moves_to_another_slot() -> None:
    program = _program()
    (clip,) = make_clips([12], FRAME, torch.float32)
    stream = open_stream(program, slots=2)
    first, second = torch.tensor([True, False]), torch.tensor([False, True])
    for t in range(6):
        stream.step(clip[None, :, t].expand(2, -1, -1, -1), active=first)
    stream.restore(stream.snapshot(0), slot=1)
    for t in range(6, 12):
        frames = clip[None, :, t].expand(2, -1, -1, -1)
        expected = stream.step(frames, active=first).output[0]
        assert torch.equal(stream.step(frames, active=second).output[1], expected)


def test_snapshot_does_not_change_with_the_stream() -> None:
    stream = open_stream(_program())
    (clip,) = make_clips([4], FRAME, torch.float32)
    _steps(stream, clip, 0, 2)
    snapshot = stream.snapshot()
    before = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
    _steps(stream, clip, 2, 4)
    assert all(torch.equal(before[name], t) for name, t in snapshot.tensors.items())


@pytest.mark.parametrize("other", [{"seed": 1}, {"window": 6}])
def test_another_program_is_refused(other: dict[str, int]) -> None:
    snapshot = open_stream(_program()).snapshot()
    with pytest.raises(StreamError, match="another program"):
        open_stream(_program(**other)).restore(snapshot)


def test_files_that_are_not_snapshots_are_refused(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text", tmp_path / "foreign.safetensors"
    text.write_text("hello")
    save_file({"x": torch.zeros(1)}, foreign)
    for path in (text, foreign, tmp_path / "missing"):
        with pytest.raises(StreamError, match="cannot restore"):
            Snapshot.load(path)


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*choose a folder"):
        open_stream(_program()).snapshot().save(tmp_path / "absent" / "s")


def test_files_with_wrong_sizes_and_pipes_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "four bits").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    os.mkfifo(tmp_path / "pipe")
    for name in ("four bits", "pipe"):
        with pytest.raises(StreamError, match=f"cannot restore from .*{name}"):
            Snapshot.load(tmp_path / name)
