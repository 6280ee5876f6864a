import json

from co3d.models import create_model, list_models


def test_the_table_names_every_model(co3d):
    outcome = co3d("models")
    assert outcome.code == 0
    for name in list_models():
        assert name in outcome.out
    assert "bundled" in outcome.out


def test_json_describes_every_model(co3d):
    entries = {entry["name"]: entry for entry in json.loads(co3d("models", "--json").out)}
    assert sorted(entries) == list_models()
    assert entries["x3d_m"]["weights"] == ["kinetics400"]
    assert not entries["x3d_m"]["bundled"]
    motion = entries["camera_motion"]
    assert motion["bundled"]
    parameters = create_model("camera_motion", weights="random").parameters()
    assert motion["parameters"] == sum(parameter.numel() for parameter in parameters)
