"""`co3d capacity`: what cameras of a fleet file cost here, and what many of them need."""

import pytest
import yaml
from PIL import Image

from co3d import ModelCard, convert, export_program
from support.networks import Classifier, stem
from support.videos import write_video


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.setattr("co3d.cli.capacity.measure_copy_gb_per_second", lambda: 10.0)
    monkeypatch.setattr("co3d.fleet.trial.SECONDS", 1.0)
    card = ModelCard("small", 4, 8.0, 16, 16, (0.45,) * 3, (0.225,) * 3)
    program = convert(Classifier(stem()).eval(), card.clip_shape)
    export_program(program, tmp_path / "small.safetensors", format="torch", card=card)
    video = write_video(tmp_path / "door.mp4", 32)  # two seconds
    return {
        "network": {"model": str(tmp_path / "small.safetensors"), "backend": "torch"},
        "cameras": [{"name": "door", "source": str(video)}],
        "capacity": {"sites": 4000, "counts": {"door": 250}, "cores": 4},
    }


def run(co3d, tmp_path, fleet, *options):
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet))
    return co3d("capacity", path, *options)


def test_a_million_cameras(co3d, tmp_path, fleet):
    outcome = run(co3d, tmp_path, fleet, "--json")
    assert outcome.code == 0, outcome.err
    (said,) = outcome.lines
    (door,) = said["cameras"]
    assert (door["width"], door["height"], door["rate_hz"]) == (96, 64, 8.0)
    size = (tmp_path / "door.mp4").stat().st_size
    assert door["bit_rate_kbps"] == pytest.approx(size * 8 / 1e3 / 2)
    spent_ms = door["source_ms"] + door["step_ms"]
    assert door["source_ms"] > 0
    assert door["step_ms"] > 0
    assert door["cameras_per_core"] == pytest.approx(0.8 / (8 * spent_ms / 1e3))
    assert said["site"]["cores"] == pytest.approx(250 / door["cameras_per_core"])
    assert said["fleet"]["cameras"] == 1_000_000
    assert said["fleet"]["machines"] == 4000 * said["site"]["machines"]


def test_the_table_marks_unknown_values(co3d, tmp_path, fleet):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
        Image.new("RGB", (64, 48)).save(pictures / f"{number}.png")
    fleet["cameras"] = [{"name": "yard", "source": str(pictures)}]
    fleet["capacity"] = {"sites": 2}
    outcome = run(co3d, tmp_path, fleet)
    assert outcome.code == 0, outcome.err
    assert "cameras/core" in outcome.out
    assert [line.split() for line in outcome.out.splitlines() if line.startswith("network")] == [
        ["network", "unknown", "unknown"]
    ]


def test_counts_for_unknown_cameras_are_refused(co3d, tmp_path, fleet):
    fleet["capacity"]["counts"] = {"dor": 2}
    outcome = run(co3d, tmp_path, fleet)
    assert outcome.code == 60
    assert "there is no camera 'dor'; known are door" in outcome.err
