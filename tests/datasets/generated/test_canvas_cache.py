"""Canvases come from the cache when, and only when, the same ones were drawn before."""

import pytest
import torch

from co3d.datasets.generated import canvas_cache, canvases
from co3d.datasets.generated.canvas_cache import read_or_build_canvases

FEW = (3, 1, 0)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Arguments of what was drawn rather than read."""
    build, seen = canvases.build_canvases, []

    def watch(*arguments):
        seen.append(arguments)
        return build(*arguments)

    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    monkeypatch.setattr(canvases, "build_canvases", watch)
    return seen


def test_the_same_canvases_are_drawn_once(drawn, tmp_path):
    first, again = (read_or_build_canvases("validation", *FEW) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first, canvases.build_canvases("validation", *FEW))
    assert len(drawn) == 2, "the cache was not read, or not filled"
    (path,) = (tmp_path / "canvases").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert torch.equal(read_or_build_canvases("validation", *FEW), first), "damage was not seen"


def test_changed_arguments_photographs_or_code_are_drawn_anew(drawn, monkeypatch):
    read_or_build_canvases("validation", *FEW)
    read_or_build_canvases("validation", 4, 1, 0)
    load = canvas_cache.load_photograph
    with monkeypatch.context() as patch:
        patch.setattr(canvas_cache, "load_photograph", lambda name: load(name)[::-1])
        read_or_build_canvases("validation", *FEW)
    monkeypatch.setattr(canvas_cache.inspect, "getsource", lambda module: "other code")
    read_or_build_canvases("validation", *FEW)
    assert len(drawn) == 4


def test_the_least_recently_used_canvases_are_removed(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(canvas_cache._KEPT, "most_files", 2)
    for seed in range(3):
        read_or_build_canvases("validation", seed, 1, 0)
    read_or_build_canvases("validation", 2, 1, 0)
    assert len(drawn) == 3
    assert len(list((tmp_path / "canvases").iterdir())) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(drawn, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file"))
    assert len(read_or_build_canvases("validation", *FEW)) == 2
