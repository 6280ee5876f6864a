"""Of a wheel's libraries the best for the processor is loaded, if the manifest confirms it."""

import json
from pathlib import Path

import pytest

from co3d.backends.native import library, prebuilt
from co3d.backends.native.prebuilt import VARIANTS, find_prebuilt, list_features, write_manifest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variant in VARIANTS:
        (tmp_path / f"{variant.name}.so").write_text(variant.name)
    write_manifest(tmp_path)
    monkeypatch.setattr(prebuilt, "list_features", lambda: frozenset(VARIANTS[0].features))
    return tmp_path


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_processor_gets_the_best_library_that_it_supports(
    variant: prebuilt.Variant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prebuilt, "list_features", lambda: frozenset((*variant.features, "sse2")))
    assert find_prebuilt(folder) == folder / f"{variant.name}.so"


def test_an_older_processor_gets_no_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "list_features", lambda: frozenset({"sse2", "avx"}))
    assert find_prebuilt(folder) is None


def test_a_source_install_has_no_library(tmp_path: Path) -> None:
    assert find_prebuilt(tmp_path) is None


def test_a_damaged_library_is_not_loaded(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "amx.so").write_text("changed")
    assert find_prebuilt(folder) == folder / "avx512_bf16.so"
    assert "amx.so is damaged: install co3d again" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sources": 1}'])
def test_a_damaged_manifest_gives_no_library(text: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(text)
    assert find_prebuilt(folder) is None


def test_libraries_of_other_sources_are_not_loaded(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sources": "0" * 64}))
    assert find_prebuilt(folder) is None


def test_a_named_compiler_is_preferred(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's libraries serve many processors; `CXX` asks for one built for this one."""
    loaded: list[Path] = []
    monkeypatch.setattr(library, "find_prebuilt", lambda: folder / "amx.so")
    monkeypatch.setattr(library, "_load", loaded.append)
    monkeypatch.delenv("CXX", raising=False)
    library.load_library.__wrapped__()
    assert loaded == [folder / "amx.so"]
    monkeypatch.setenv("CXX", "c++")
    monkeypatch.setattr(library, "_build_once", lambda *_: folder / "built.so")
    monkeypatch.setattr(library._KEPT, "find", lambda _: None)
    library.load_library.__wrapped__()
    assert loaded[1:] == [folder / "built.so"]


def test_features_of_this_processor_are_read() -> None:
    assert not Path("/proc/cpuinfo").exists() or len(list_features()) > 5
