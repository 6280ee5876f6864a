"""`co3d eval` where data set and network have different classes, or classes without names."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from co3d.evaluation.tables import VIDEO_COLUMNS
from co3d.models import create_model
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.weights.save import save_weights
from support.evaluations import evaluate
from support.miniature import make_kinetics

pytestmark = pytest.mark.usefixtures("no_pictures")

CLIP = ("--mode", "clip", "--limit", 4)


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    return make_kinetics(tmp_path_factory.mktemp("kinetics"), classes=("pan left", "zoom in"))


def read(folder):
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    return {row["video_id"]: row for row in rows if row["error"] is None}


def test_only_the_outputs_of_a_part_compete(co3d, kinetics, tmp_path):
    whole = evaluate(co3d, kinetics, tmp_path / "whole", *CLIP)
    part = evaluate(co3d, kinetics, tmp_path / "part", *CLIP, "--head", "part")
    assert part["settings"]["head"] == "part"
    assert part["settings"]["weights_sha256"] != whole["settings"]["weights_sha256"]
    got = read(tmp_path / "part")
    (key,) = set(next(iter(got.values()))) - set(VIDEO_COLUMNS)
    places = [CAMERA_MOTIONS.index(name) for name in ("pan left", "zoom in")]
    for video_id, row in read(tmp_path / "whole").items():
        kept = np.array(row[key])[places]
        np.testing.assert_allclose(got[video_id][key], kept / kept.sum(), rtol=1e-4)


def test_names_from_a_file_go_to_the_side_without_names(co3d, kinetics, tmp_path):
    model = create_model("camera_motion")
    save_weights(model, tmp_path / "bare.safetensors", {})
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CAMERA_MOTIONS))
    bare = ("--model", "camera_motion", "--weights", tmp_path / "bare.safetensors")
    expected = evaluate(co3d, kinetics, tmp_path / "a", *CLIP)
    got = evaluate(co3d, kinetics, tmp_path / "b", *CLIP, *bare, "--labels", names)
    assert got["measures"] == expected["measures"]
    arguments = ("eval", "--data", kinetics.root, *CLIP, "--output", tmp_path / "c")
    outcome = co3d(*arguments, "--labels", names)
    assert outcome.code == 2
    assert "a set whose classes have names" in outcome.err
    outcome = co3d(*arguments, *bare, "--head", "part")
    assert outcome.code == 2
    assert "the weights do not name them" in outcome.err
    names.write_text("pan left\n")
    outcome = co3d(*arguments, *bare, "--labels", names)
    assert outcome.code == 2
    assert "got 1 names, expected one for each of its 9 outputs" in outcome.err
    only = evaluate(co3d, kinetics, tmp_path / "d", *CLIP, "--only", names)
    assert (
        only["videos"]["per_class"][CAMERA_MOTIONS.index("zoom in")]
        == 0
        < max(only["videos"]["per_class"])
    )


def test_an_assumed_class_order_gives_a_warning(co3d, tmp_path):
    for name in CAMERA_MOTIONS:
        (tmp_path / "data" / f"a {name}").mkdir(parents=True)
        (tmp_path / "data" / f"a {name}" / "a.mp4").write_bytes(b"x")
    save_weights(create_model("camera_motion"), tmp_path / "bare.safetensors", {})
    outcome = co3d(
        *("eval", "--data", tmp_path / "data", "--mode", "clip"),
        *("--weights", tmp_path / "bare.safetensors", "--output", tmp_path / "c"),
    )
    assert outcome.code == 16
    assert "taken to be those of the data set in the order a pan left, a pan right" in outcome.err
