import json

import pytest

from co3d.compiler import convert
from co3d.models import create_model


@pytest.fixture(scope="module")
def program():
    model = create_model("camera_motion", weights="random")
    return convert(model, (3, 8, 32, 32), window=3)


def test_the_text_equals_the_programs_description(co3d, program):
    outcome = co3d("explain", "camera_motion", "--window", 3, "--clip", "3,8,32,32")
    assert outcome.code == 0
    assert outcome.out.strip() == program.explain().strip()


def test_json_has_the_key_figures(co3d, program):
    figures = json.loads(
        co3d("explain", "camera_motion", "--window", 3, "--clip", "3,8,32,32", "--json").out
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
    assert figures["clip_shapes"] == [[3, 8, 32, 32]]
    assert len(figures["values"]) == len(program.rows)


def test_a_picture_is_drawn_on_demand(co3d, tmp_path):
    picture = tmp_path / "network.svg"
    outcome = co3d("explain", "camera_motion", "--clip", "3,8,32,32", "--picture", picture)
    assert outcome.out.splitlines()[-1] == f"wrote {picture}"
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(("name", "code"), [("network.gif", 2), ("absent/network.svg", 40)])
def test_a_picture_of_an_unknown_kind_is_refused_before_any_work(
    co3d, tmp_path, monkeypatch, name, code
):
    monkeypatch.setattr("co3d.cli.explain.convert_network", lambda _: pytest.fail("converted"))
    outcome = co3d("explain", "camera_motion", "--picture", tmp_path / name)
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_json_with_a_picture_is_json_alone(co3d, tmp_path):
    picture = tmp_path / "network.svg"
    arguments = ("--clip", "3,8,32,32", "--picture", picture, "--json")
    json.loads(co3d("explain", "camera_motion", *arguments).out)
    assert picture.is_file()


def test_delay_sources_add_up(co3d):
    figures = json.loads(co3d("explain", "camera_motion", "--clip", "3,8,32,32", "--json").out)
    assert sum(figures["delay_sources"].values()) == figures["delay"]


def test_a_users_network_at_native_rate(co3d, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv3d(3, 4, 3, (2, 1, 1), 1), nn.Conv3d(4, 4, 3, 1, 1))\n"
    )
    arguments = ("--clip", "3,8,8,8", "--rate", "native", "--spread", "--json")
    figures = json.loads(co3d("explain", f"{path}:build", *arguments).out)
    assert figures["rate"] == "native"
    assert figures["temporal_stride"] == 2
    assert len(figures["macs_per_phase"]) == 2
    assert sum(figures["macs_per_phase"]) == 2 * figures["macs_per_frame"]


def test_one_report_lists_everything_that_cannot_be_converted(co3d, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.norm = nn.GroupNorm(1, 3)\n"
        "    def forward(self, x):\n"
        "        return self.norm(x).mean((2, 3, 4)) + x.flip(2).mean((2, 3, 4))\n"
    )
    outcome = co3d("explain", f"{path}:Net", "--clip", "3,8,8,8")
    assert outcome.code == 30
    assert outcome.out == ""
    first, norm, flip, behind, last = outcome.err.splitlines()
    assert first == "error: cannot convert: 2 operators cannot run frame by frame:"
    assert f'aten.group_norm.default in norm (GroupNorm), File "{path}", line 7' in norm
    assert f'aten.flip.default in the model (Net), File "{path}", line 7' in flip
    assert behind == "  what follows them was not examined"
    assert "fallback=True" in last
    rerun = json.loads(
        co3d("explain", f"{path}:Net", "--clip", "3,8,8,8", "--fallback", "--json").out
    )
    assert len(rerun["fallbacks"]) == 3
    assert "the whole network is rerun" in rerun["fallbacks"][2]
