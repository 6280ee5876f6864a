"""The cache of converted programs: a cached program equals a new conversion."""

import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import co3d
from co3d.compiler import StepProgram
from co3d.compiler.options import ConvertOptions
from co3d.compiler.program import Program
from co3d.engine.opening import open_labeller
from co3d.export import program_cache
from co3d.export.program_cache import convert_or_read
from co3d.runtime import open_stream
from co3d.runtime.stored_program import StoredProgram
from support.kept_programs import OPTIONS, SHAPE, key, network, own_cache  # noqa: F401


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "programs").glob("*"))


def run(program: Program) -> list[Tensor]:
    """The results of a stream that starts, settles, and ends."""
    stream = open_stream(program, backend="torch")
    frames = torch.randn(20, 1, *program.frame_shape, generator=torch.Generator().manual_seed(0))
    results = [stream.step(frame).output for frame in frames]
    return [*results, *(result.output for result in stream.flush())]


@pytest.mark.parametrize("options", [OPTIONS, ConvertOptions(rate="native"), ConvertOptions(5)])
def test_a_cached_program_equals_the_converted_one(options: ConvertOptions) -> None:
    made = convert_or_read(network(), SHAPE, options)
    read = convert_or_read(network(), SHAPE, options)
    assert isinstance(made, StepProgram)
    assert isinstance(read, StoredProgram)
    assert read.fingerprint == made.fingerprint
    assert read.fingerprint == co3d.convert(network(), SHAPE, **vars(options)).fingerprint
    for name in Program.__dataclass_fields__:
        if name != "phases":
            assert getattr(read, name) == getattr(made, name), name
    if options.edges == "both":
        for ours, theirs in zip(run(read), run(made), strict=True):
            assert torch.equal(ours, theirs)


def test_weights_of_a_cached_program_are_aligned() -> None:
    """Some processors' kernels round otherwise where they are not."""
    _, read = (convert_or_read(network(), SHAPE, OPTIONS) for _ in range(2))
    weights = list(read.phases[0].steady.buffers())
    assert len(weights) == 22
    assert all(weight.data_ptr() % 64 == 0 for weight in weights)


def test_snapshots_continue_in_a_cached_program() -> None:
    made, read = (convert_or_read(network(), SHAPE, OPTIONS) for _ in range(2))
    frames = torch.randn(12, 1, *made.frame_shape)
    first, second = (open_stream(program, backend="torch") for program in (made, read))
    for frame in frames[:6]:
        first.step(frame)
    second.restore(first.snapshot(0), 0)
    for frame in frames[6:]:
        assert torch.equal(first.step(frame).output, second.step(frame).output)


def test_a_labeller_uses_the_cache() -> None:
    first, second = (open_labeller(backend="torch") for _ in range(2))
    assert isinstance(first.program, StepProgram)
    assert isinstance(second.program, StoredProgram)
    assert first.program.fingerprint == second.program.fingerprint


# Damage, foreign files, and folders that cannot be written.


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_a_bit(data: bytes) -> bytes:
    place = len(data) - 100
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def clear(data: bytes) -> bytes:
    return bytes(len(data))


@pytest.mark.parametrize("damage", [cut, flip_a_bit, clear, lambda _: b""])
def test_a_damaged_entry_is_replaced_with_one_warning(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run(convert_or_read(network(), SHAPE, OPTIONS))
    (entry,) = entries(tmp_path)
    entry.write_bytes(damage(entry.read_bytes()))
    with caplog.at_level(logging.WARNING, "co3d"):
        again = convert_or_read(network(), SHAPE, OPTIONS)
        read = convert_or_read(network(), SHAPE, OPTIONS)
    assert isinstance(again, StepProgram)
    assert isinstance(read, StoredProgram)
    assert len(entries(tmp_path)) == 1
    said = [record.getMessage() for record in caplog.records if record.name == "co3d"]
    assert len(said) == 1
    assert "is damaged" in said[0]
    for ours, theirs in zip(run(read), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_the_file_of_another_program_is_not_used(tmp_path: Path) -> None:
    convert_or_read(network(), SHAPE, OPTIONS)
    (own,) = entries(tmp_path)
    other = convert_or_read(network(), SHAPE, ConvertOptions(3, edges="both"))
    (foreign,) = set(entries(tmp_path)) - {own}
    content = foreign.read_bytes()
    own.write_bytes(content)
    assert convert_or_read(network(), SHAPE, OPTIONS).fingerprint != other.fingerprint
    # Nor by a name that is made up of the key and the other's digest.
    for entry in set(entries(tmp_path)) - {foreign}:
        entry.unlink()
    mixed = own.with_name(own.name.split(".")[0] + "." + ".".join(foreign.name.split(".")[1:]))
    mixed.write_bytes(content)
    assert convert_or_read(network(), SHAPE, OPTIONS).fingerprint != other.fingerprint
    assert not mixed.exists()


def test_a_file_of_another_version_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest is right, but this version cannot read its description."""
    with monkeypatch.context() as patch:
        patch.setattr("co3d.export.description.VERSION", 1)
        convert_or_read(network(), SHAPE, OPTIONS)
    (old,) = entries(tmp_path)
    assert isinstance(convert_or_read(network(), SHAPE, OPTIONS), StepProgram)
    assert isinstance(convert_or_read(network(), SHAPE, OPTIONS), StoredProgram)
    assert old not in entries(tmp_path)


@pytest.mark.parametrize("kind", ["file", "missing folder above"])
def test_an_unwritable_cache_is_not_an_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setenv("CO3D_CACHE", str(blocked if kind == "file" else blocked / "below"))
    for _ in range(2):
        assert isinstance(convert_or_read(network(), SHAPE, OPTIONS), StepProgram)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir(mode=0o500)
    assert isinstance(convert_or_read(network(), SHAPE, OPTIONS), StepProgram)


def _convert(cache: str, started: multiprocessing.Barrier, results: multiprocessing.Queue) -> None:
    os.environ["CO3D_CACHE"] = cache
    started.wait()
    results.put(convert_or_read(network(), SHAPE, OPTIONS).fingerprint)


@pytest.mark.slow
def test_two_processes_can_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started, results = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_convert, args=(str(tmp_path), started, results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    fingerprints = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(fingerprints) == 1
    # Equal programs may be written in another order, and then both are kept.
    for entry in entries(tmp_path):
        assert program_cache._KEPT.find(entry.name.split(".")[0]) is not None
    read = convert_or_read(network(), SHAPE, OPTIONS)
    assert isinstance(read, StoredProgram)
    assert read.fingerprint in fingerprints


def test_least_recently_used_entries_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_cache._KEPT, "most_files", 2)
    for age, window in ((30, 2), (20, 3), (10, 4)):
        before = set(entries(tmp_path))
        convert_or_read(network(), SHAPE, ConvertOptions(window))
        (new,) = set(entries(tmp_path)) - before
        os.utime(new, (new.stat().st_atime, new.stat().st_mtime - age))
    assert len(entries(tmp_path)) == 2
    assert isinstance(convert_or_read(network(), SHAPE, ConvertOptions(3)), StoredProgram)
    convert_or_read(network(), SHAPE, ConvertOptions(5))
    assert isinstance(convert_or_read(network(), SHAPE, ConvertOptions(3)), StoredProgram)
    assert isinstance(convert_or_read(network(), SHAPE, ConvertOptions(4)), StepProgram)
    monkeypatch.setattr(program_cache._KEPT, "most_bytes", 1)
    convert_or_read(network(), SHAPE, ConvertOptions(6))
    assert len(entries(tmp_path)) == 1
