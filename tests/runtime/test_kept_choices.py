"""The cache of measurements of "auto", whose key has everything that a measurement depends on."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from co3d.compiler import convert
from co3d.compiler.program import StepProgram
from co3d.runtime import choice, kept_choices
from co3d.runtime.choice import Choice, choose_backend
from co3d.runtime.kept_choices import find_choice_key, keep_choice, read_choice
from co3d.runtime.measure import Measured, StepTime

CPU = torch.device("cpu")


def make(channels: int = 4, size: int = 6) -> StepProgram:
    return convert(nn.Conv3d(channels, 4, 3, groups=2), (channels, 4, size, size))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    return tmp_path / "choices"


@pytest.fixture
def measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of measured backends; torch is always the fastest."""
    names: list[str] = []

    def measure_candidates(program, precision, backends, thread_counts) -> list[Measured]:
        names.append(program.name)
        return [
            Measured("torch", 1, StepTime(1e-3, 4e-3)),
            Measured("openvino", 1, StepTime(5e-3, 5e-3)),
        ]

    monkeypatch.setattr(choice, "measure_candidates", measure_candidates)
    return names


def test_a_measurement_is_reused_for_other_starts_and_weights(measured: list[str]) -> None:
    expected = Choice("torch", 1, "auto: 2.0 ms a step here; openvino 5.0")
    for _ in range(3):
        assert choose_backend(make(), "float32", CPU) == expected
    assert len(measured) == 1


def test_a_changed_key_is_measured_again(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_backend(make(), "float32", CPU)
    choose_backend(make(), "bfloat16", CPU)
    choose_backend(make(channels=8), "float32", CPU)
    choose_backend(make(size=8), "float32", CPU)
    monkeypatch.setattr(kept_choices, "_describe_machine", lambda: "another one")
    choose_backend(make(), "float32", CPU)
    monkeypatch.setattr(kept_choices, "_list_versions", lambda: "later ones")
    choose_backend(make(), "float32", CPU)
    monkeypatch.setattr(choice, "list_thread_counts", lambda _: (1, 2))
    choose_backend(make(), "float32", CPU)
    assert len(measured) == 7


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:20],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace("torch", "native"),
        lambda text: text.replace('"threads": 1', '"threads": 64'),
        lambda text: json.dumps({"backend": "torch", "threads": "x", "reason": ""}),
    ],
)
def test_a_damaged_entry_is_measured_again(
    spoil, cache: Path, measured: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    choose_backend(make(), "float32", CPU)
    (path,) = cache.iterdir()
    text = path.read_text()
    path.write_text(spoil(text))
    with caplog.at_level("WARNING", "co3d"):
        assert choose_backend(make(), "float32", CPU).backend == "torch"
    assert "is damaged" in caplog.text
    assert len(measured) == 2
    assert path.read_text() == text


def test_a_cached_backend_that_is_not_a_candidate_is_not_used(cache: Path, measured) -> None:
    program = make()
    choose_backend(program, "float32", CPU)
    (path,) = cache.iterdir()
    keep_choice(path.stem, "inductor", 1, "auto: once upon a time")
    assert choose_backend(program, "float32", CPU).backend == "torch"


def test_an_unwritable_cache_is_not_an_error(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert choose_backend(make(), "float32", CPU).backend == "torch"
    assert len(measured) == 2


def test_least_recently_used_entries_are_deleted(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_choices._KEPT, "most_files", 3)
    for place, key in enumerate("abc"):
        keep_choice(key, "torch", 1, "because")
        os.utime(kept_choices._KEPT.find(key) or "", (place, place))
    assert read_choice("a") == ("torch", 1, "because")  # used just now
    keep_choice("d", "torch", 1, "because")
    assert sorted(path.name.split(".")[0] for path in cache.iterdir()) == ["a", "c", "d"]


def test_a_key_does_not_depend_on_weights() -> None:
    assert find_choice_key(make(), "float32", ()) == find_choice_key(make(), "float32", ())
