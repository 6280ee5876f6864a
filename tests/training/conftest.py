import functools

import pytest

from co3d.datasets.generated.photographs import load_photograph
from co3d.training.recipe_file import check_recipe

# A network, two clips a batch and a few pictures: a run of seconds.
TINY = {
    "epochs": 2,
    "model": {"name": "camera_motion", "weights": "random"},
    "data": {
        "kind": "camera_motion",
        "frames_per_batch": 8,
        "clip_lengths": [2, 4],
        "steps_per_epoch": 3,
        "validation_clips": 4,
        "crops_per_photograph": 1,
        "textures_per_kind": 1,
        "workers": 0,
    },
    "compute": {"accelerator": "cpu", "threads": 1},
    "logging": {"tensorboard": False},
}


def merge(values, changes):
    if changes.get("kind", values.get("kind")) != values.get("kind"):
        return changes  # another kind has other keys
    return {
        **values,
        **{
            key: merge(values[key], value)
            if isinstance(value, dict) and isinstance(values.get(key), dict)
            else value
            for key, value in changes.items()
        },
    }


_load_once = functools.cache(load_photograph)


@pytest.fixture
def pictures() -> None:
    """The pictures of runs are drawn."""


@pytest.fixture(autouse=True)
def _be_quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no pictures unless a test asks for them, and load photographs once.

    Both took more than half of a tiny run.
    """
    monkeypatch.setattr("co3d.datasets.generated.canvas_cache.load_photograph", _load_once)
    if "pictures" not in request.fixturenames:
        for name in ("draw_curves", "draw_confusion"):
            monkeypatch.setattr(f"co3d.training.run_folder.{name}", lambda *_: None)


@pytest.fixture(scope="session")
def tiny():
    """A recipe of seconds, with changes."""
    return lambda **changes: check_recipe(merge(TINY, changes), "tiny")
