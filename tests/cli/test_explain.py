import json

import pytest

from co3d.models import create_model
from co3d.stream import convert


@pytest.fixture(scope="module")
def program():
    model = create_model("camera_motion", weights="random")
    return convert(model, (3, 8, 32, 32), window=3)


def test_the_text_is_that_of_the_program(co3d, program):
    outcome = co3d("explain", "camera_motion", "--window", 3, "--size", 32)
    assert outcome.code == 0
    assert outcome.out.strip() == program.explain().strip()


def test_json_has_the_key_figures(co3d, program):
    figures = json.loads(
        co3d("explain", "camera_motion", "--window", 3, "--size", 32, "--json").out
    )
    for name in (
        "receptive_field",
        "delay",
        "temporal_stride",
        "first_valid_step",
        "window",
        "state_bytes",
        "macs_per_frame",
        "clip_macs",
    ):
        assert figures[name] == getattr(program, name)
    assert figures["clip_shape"] == [3, 8, 32, 32]
    assert len(figures["values"]) == len(program.rows)
