"""Building and loading the kernels: failing compilers, damaged caches, concurrent builds."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from torch import nn

from co3d.backends.native import library
from co3d.compiler import convert
from co3d.errors import MissingPackageError
from co3d.runtime import open_stream


@pytest.fixture(autouse=True)
def forget_the_library() -> Iterator[None]:
    for function in (library.load_library, library.why_unavailable):
        function.cache_clear()
    yield
    for function in (library.load_library, library.why_unavailable):
        function.cache_clear()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that other tests have built, or one without optimisation, which is quicker."""
    compiler = library.find_compiler()
    assert compiler is not None
    if path := library._KEPT.find(library._fingerprint(compiler)):
        return path
    path = tmp_path_factory.mktemp("built") / "kernels.so"
    library.compile_kernels(compiler, path, ["-O0", *library._options_of_this_processor()])
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    """Replace compiling by copying a built library."""

    def copy(_compiler: Sequence[str], path: Path, _options: Sequence[str]) -> None:
        shutil.copyfile(built, path)

    monkeypatch.setattr(library, "compile_kernels", copy)


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(MissingPackageError, match=r"'no-such-compiler -O2', which CXX names"):
        library.load_library()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPackageError, match=r"one of c\+\+, g\+\+, clang\+\+ was not found"):
        library.load_library()


def test_a_compiler_may_have_spaces_and_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "a compiler"
    compiler.write_text("")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert library.find_compiler() == [str(compiler)]
    monkeypatch.setenv("PATH", str(tmp_path))
    compiler.rename(tmp_path / "compiler")
    monkeypatch.setenv("CXX", "compiler -O2")
    assert library.find_compiler() == [str(tmp_path / "compiler"), "-O2"]


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(MissingPackageError, match=r"cannot be compiled with .*false: it failed"):
        library.load_library()
    nothing = tmp_path / "nothing"
    nothing.touch(0o755)
    monkeypatch.setenv("CXX", str(nothing))
    with pytest.raises(MissingPackageError, match="nothing: Exec format error"):
        library.load_library()


def test_a_missing_linker_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kernels.cpp").write_text("int co3d_lanes() { return 4; }")  # compiles at once
    monkeypatch.setattr(library, "SOURCES", tmp_path)
    monkeypatch.setattr(library, "_OPTIONS", (*library._OPTIONS, "-lno-such-library"))
    with pytest.raises(MissingPackageError, match="cannot find -lno-such-library"):
        library.load_library()


def test_auto_falls_back_when_kernels_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    stream = open_stream(convert(nn.Conv3d(3, 4, 3), (3, 4, 6, 6)))
    assert not stream.backend.startswith("native")
    assert "cannot be compiled with" in stream.backend


@pytest.mark.usefixtures("quick")
def test_a_cache_that_cannot_be_written_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file"))
    assert library.load_library().co3d_lanes() >= 4


def cut(data: bytes) -> bytes:
    return data[:5000]


def zero(data: bytes) -> bytes:
    return bytes(len(data))


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def take_another(_data: bytes) -> bytes:
    """Put a library in its place that can be loaded and has none of the functions."""
    import ctypes.util

    return Path(_find_loaded(ctypes.util.find_library("m"))).read_bytes()


def _find_loaded(name: str) -> str:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split()[-1] for line in lines if f"/{name}" in line)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("damage", [cut, zero, flip_a_bit, take_another])
def test_a_damaged_library_is_built_anew(
    damage: Callable[[bytes], bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    library.load_library()
    (path,) = (tmp_path / "native").glob("*.so")
    whole = path.read_bytes()
    path.unlink()  # still mapped by this process
    path.write_bytes(damage(whole))
    library.load_library.cache_clear()
    assert library.load_library().co3d_lanes() >= 4
    assert "its content is not what was written" in caplog.text
    (path,) = (tmp_path / "native").glob("*.so")
    library.load_library.cache_clear()
    caplog.clear()
    library.load_library()
    assert not caplog.text


@pytest.mark.usefixtures("quick")
def test_without_a_compiler_a_cached_library_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    library.load_library()
    assert "compiling co3d's kernels for this processor, once" in capsys.readouterr().err
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    library.load_library.cache_clear()
    assert library.load_library().co3d_lanes() >= 4
    monkeypatch.setattr(library, "list_features", lambda: frozenset({"of another processor"}))
    library.load_library.cache_clear()
    with pytest.raises(MissingPackageError, match="was not found"):
        library.load_library()


@pytest.mark.usefixtures("quick")
def test_a_library_that_other_users_can_write_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    library.load_library()
    (tmp_path / "native").chmod(0o777)
    library.load_library.cache_clear()
    loaded: list[Path] = []
    load = library._load
    monkeypatch.setattr(library, "_load", lambda path: loaded.append(path) or load(path))
    assert library.load_library().co3d_lanes() >= 4
    assert [tmp_path in path.parents for path in loaded] == [False]
    assert "others own it or may write to it" in caplog.text


_BUILD = """
import sys
from co3d.backends.native import library
library._OPTIONS = ("-O0", *library._OPTIONS[1:])
built = []
build = library._build
library._build = lambda *args: built.append(1) or build(*args)
library.load_library()
print(len(built))
"""


@pytest.mark.slow
def test_of_two_processes_one_builds(tmp_path: Path) -> None:
    environment = {**os.environ, "CO3D_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", _BUILD], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    built = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sorted(built) == [0, 1]
    assert len(list((tmp_path / "native").glob("*.so"))) == 1


_WAIT_FOR_THE_COMPILER = """
from co3d.backends.native import library
library._run(["sh", "-c", "sleep 60 & echo $! > child; wait"])
"""


def test_a_compiler_ends_when_the_process_that_waits_for_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WAIT_FOR_THE_COMPILER]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        child = tmp_path / "child"
        _wait_until(lambda: child.exists() and child.read_text().endswith("\n"))
        process.kill()
    state = Path(f"/proc/{int(child.read_text())}/stat")
    _wait_until(lambda: not state.exists() or state.read_text().split()[2] == "Z")


def _wait_until(has_happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not has_happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_hanging_compiler_is_killed_with_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler, child = tmp_path / "compiler", tmp_path / "child"
    compiler.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {child}\nwait\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(library, "_BUILD_SECONDS", 1.0)
    with pytest.raises(MissingPackageError, match="timed out"):
        library.load_library()
    state = Path(f"/proc/{int(child.read_text())}/stat")
    _wait_until(lambda: not state.exists() or state.read_text().split()[2] == "Z")


def test_other_compiler_options_make_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = library.find_compiler()
    before = library._fingerprint(compiler)
    assert library._fingerprint(compiler) == before
    monkeypatch.setattr(library, "_OPTIONS", (*library._OPTIONS, "-ffp-contract=off"))
    assert library._fingerprint(compiler) != before
