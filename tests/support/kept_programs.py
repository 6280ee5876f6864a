"""A network whose converted program is kept, and a cache for each test of that."""

from pathlib import Path

import pytest
from torch import nn

from co3d.compiler.options import ConvertOptions
from co3d.export import program_key
from co3d.export.program_key import find_program_key
from co3d.models import create_model

SHAPE = (3, 8, 32, 32)
OPTIONS = ConvertOptions(edges="both")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for each test; and no rules that other tests registered."""
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    rules = {
        target: rule
        for target, rule in program_key._RULES.items()
        if rule.__module__.startswith("co3d.")
    }
    monkeypatch.setattr(program_key, "_RULES", rules)


def network() -> nn.Module:
    return create_model("camera_motion")


def key(
    model: nn.Module | None = None, shape: tuple[int, ...] = SHAPE, **options: object
) -> str | None:
    chosen = ConvertOptions(**{"edges": "both", **options})  # type: ignore[arg-type]
    return find_program_key(network() if model is None else model, (shape,), chosen)
