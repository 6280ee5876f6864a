"""Building and loading the kernels, on machines where not all is well."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from co3d.backends.native import library
from co3d.compiler import convert
from co3d.errors import MissingPackageError
from co3d.runtime import open_stream


@pytest.fixture(autouse=True)
def forget_the_library() -> Iterator[None]:
    for function in (library.load_library, library.find_obstacle):
        function.cache_clear()
    yield
    for function in (library.load_library, library.find_obstacle):
        function.cache_clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that are built in seconds."""
    monkeypatch.setattr(library, "_OPTIONS", ("-O0", *library._OPTIONS[1:]))


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_compiler_that_cannot_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(MissingPackageError, match=r"cannot be compiled with .*false: it failed"):
        library.load_library()
    nothing = tmp_path / "nothing"
    nothing.touch(0o755)
    monkeypatch.setenv("CXX", str(nothing))
    with pytest.raises(MissingPackageError, match="nothing: Exec format error"):
        library.load_library()


def test_what_the_linker_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_OPTIONS", ("-O0", *library._OPTIONS[1:], "-lno-such-library"))
    with pytest.raises(MissingPackageError, match="cannot find -lno-such-library"):
        library.load_library()


def test_auto_does_without_kernels_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    stream = open_stream(convert(nn.Conv3d(3, 4, 3), (3, 4, 6, 6)))
    assert not stream.backend.startswith("native")
    assert "cannot be compiled with" in stream.backend


@pytest.mark.usefixtures("quick")
def test_a_cache_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file"))
    assert library.load_library().co3d_lanes() >= 4


@pytest.mark.usefixtures("quick")
def test_a_damaged_library_is_built_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    damaged = tmp_path / "native" / f"kernels-{library._fingerprint(library.find_compiler())}.so"
    damaged.parent.mkdir()
    damaged.touch()
    assert library.load_library().co3d_lanes() >= 4
    assert damaged.stat().st_size > 0


def test_other_options_are_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = library.find_compiler()
    before = library._fingerprint(compiler)
    assert library._fingerprint(compiler) == before
    monkeypatch.setattr(library, "_OPTIONS", (*library._OPTIONS, "-ffp-contract=off"))
    assert library._fingerprint(compiler) != before
