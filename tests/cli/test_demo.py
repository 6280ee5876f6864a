import json
from importlib import resources
from pathlib import Path

import av
import pytest

from co3d.engine import compare_with_clip
from co3d.report import read_truth


@pytest.fixture
def demo(co3d, tmp_path, monkeypatch):
    def compare(labeller, frames, comparison):
        """On fewer frames; the clips of the whole sample would take most of the time."""
        return compare_with_clip(labeller, frames[: labeller.card.clip_frames + 20], comparison)

    monkeypatch.setattr("co3d.cli.demo.compare_with_clip", compare)
    return co3d("demo", "--output-dir", tmp_path / "new" / "demo"), tmp_path / "new" / "demo"


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_the_demo_shows_measures_and_writes_everything(demo):
    outcome, folder = demo
    assert outcome.code == 0
    assert {path.name for path in folder.iterdir()} == {
        "annotated.mp4",
        "timeline.png",
        "summary.json",
    }
    for name in ("annotated.mp4", "timeline.png", "summary.json"):
        assert f"wrote {folder / name}" in outcome.out.replace("\n", "")
    with resources.as_file(resources.files("co3d") / "assets" / "sample.mp4") as sample:
        assert count_frames(folder / "annotated.mp4") == count_frames(sample)
        truth = read_truth(sample.with_suffix(".json"))
    figures = json.loads((folder / "summary.json").read_text())
    assert [entry["truth"]["label"] for entry in figures["truth"]] == [t.label for t in truth]
    # The bundled model on the bundled sample: what the demo is there to show.
    assert all(entry["mostly"] == entry["truth"]["label"] for entry in figures["truth"])
    assert figures["one_prediction"]["macs_ratio"] > 5
    assert figures["one_prediction"]["speedup"] > 1
    for segment in truth:
        assert segment.label.split()[0] in outcome.out
