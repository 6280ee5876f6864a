import json

import pytest

from support.videos import write_video


def _labels(outcome) -> list[str]:
    assert outcome.code == 0, outcome.err
    return [line["top"][0]["label"] for line in outcome.lines]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--edges", "both"), "a.onnx"),
        (("--edges", "both", "--format", "openvino"), "a.xml"),
        (("--edges", "both", "--format", "torch"), "a.safetensors"),
    ],
)
def test_an_exported_file_labels_as_the_model_does(co3d, tmp_path, video, options, name):
    path = tmp_path / name
    outcome = co3d("export", "camera_motion", "--output", path, "--json", *options)
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert figures["size_bytes"] > 1e5
    assert figures["description"]["card"]["name"] == "camera_motion"
    expected = _labels(co3d("stream", video, "--json"))
    assert _labels(co3d("stream", video, "--json", "--model", path)) == expected


def test_int8_is_calibrated_on_videos(co3d, tmp_path, video):
    path = tmp_path / "a.onnx"
    arguments = ("export", "camera_motion", "--precision", "int8", "--output", path)
    outcome = co3d(*arguments, "--calibrate", video.parent, "--calibration-frames", 20)
    assert outcome.code == 0, outcome.err
    assert "int8" in outcome.out
    expected = _labels(co3d("stream", video, "--json"))
    actual = _labels(co3d("stream", video, "--json", "--model", path))
    assert (
        expected[: len(actual)] == actual
    )  # without --edges both the last frames stay undescribed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--precision", "int8"), 2),
        (("--calibrate", "nowhere.mp4", "--precision", "int8"), 10),
        (("--calibrate", ".", "--precision", "int8"), 2),
        (("--format", "openvino"), 2),
        (("--calibration-frames", "0", "--calibrate", "a.mp4", "--precision", "int8"), 2),
        (("--idle-seconds", "5"), 2),
        (("--format", "torch", "--strategy", "oldest"), 2),
        (("--format", "triton", "--calibrate", "."), 2),
        (("--format", "triton", "--slots", "0"), 2),
    ],
)
def test_bad_options_name_what_to_do(co3d, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    outcome = co3d("export", "camera_motion", "--output", "a.onnx", *arguments)
    assert outcome.code == code
    assert outcome.err.splitlines()[-1].startswith("error: cannot")
    assert not (tmp_path / "a.onnx").exists()


def test_a_model_for_triton_is_written_as_the_options_say(co3d, tmp_path):
    arguments = ("export", "camera_motion", "--format", "triton", "--output", tmp_path / "models")
    options = ("--slots", 5, "--strategy", "oldest", "--idle-seconds", 7, "--precision", "bfloat16")
    outcome = co3d(*arguments, *options)
    assert outcome.code == 0, outcome.err
    assert f"tritonserver --model-repository {tmp_path / 'models'}" in outcome.out
    config = (tmp_path / "models" / "camera_motion" / "config.pbtxt").read_text()
    for line in (
        "max_batch_size: 5",
        "oldest { max_candidate_sequences: 5 }",
        "max_sequence_idle_microseconds: 7000000",
        '{ key: "precision" value { string_value: "bfloat16" } }',
    ):
        assert line in config


def test_streaming_a_file_with_options_that_it_fixes_is_refused(co3d, tmp_path):
    path, video = tmp_path / "a.onnx", write_video(tmp_path / "v.mkv", 10)
    assert co3d("export", "camera_motion", "--output", path).code == 0
    for options in (("--window", 4), ("--weights", "x"), ("--precision", "bfloat16")):
        outcome = co3d("stream", video, "--model", path, *options)
        assert outcome.code == 2
    assert co3d("stream", video, "--model", tmp_path / "b.onnx").code == 10


NETWORK = """
from torch import nn
def build():
    conv = nn.Conv3d(3, 8, (3, 3, 3), padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 2))
"""
CARD = ("--rate-hz", 8, "--mean", "0.45,0.45,0.45", "--std", "0.2,0.2,0.2")


@pytest.fixture
def network(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    return ("export", f"{tmp_path}/net.py:build", "--clip", "3,8,72,72", "--format", "torch")


def test_advice_is_given_only_where_it_works(co3d, tmp_path, video, network):
    outcome = co3d(*network, "--output", tmp_path / "a.safetensors")
    assert outcome.code == 0, outcome.err
    assert "run it with" not in outcome.out
    assert "cannot play it: it does not say how to prepare a picture" in outcome.out
    assert "--rate-hz, --mean, --std and --labels" in outcome.out
    outcome = co3d(*network, "--output", tmp_path / "b.safetensors", *CARD)
    assert f"run it with: co3d stream VIDEO --model {tmp_path}/b.safetensors" in outcome.out
    assert co3d("stream", video, "--model", tmp_path / "b.safetensors").code == 0
    path = tmp_path / "c.onnx"
    outcome = co3d("export", "camera_motion", "--slots", 2, "--output", path)
    assert "it steps 2 videos at once; export it with --slots 1" in outcome.out
    assert "run it with" not in outcome.out


def test_a_network_is_described_by_options(co3d, tmp_path, video, network):
    path, names = tmp_path / "a.safetensors", tmp_path / "names.txt"
    names.write_text("left\nright\n")
    outcome = co3d(
        *network, "--output", path, *CARD, "--labels", names, "--short-side", 80, "--json"
    )
    card = json.loads(outcome.out)["description"]["card"]
    assert (card["rate_hz"], card["mean"], card["std"]) == (8.0, [0.45] * 3, [0.2] * 3)
    assert (card["clip_frames"], card["crop_px"], card["short_side_px"]) == (8, 72, 80)
    assert card["labels"] == ["left", "right"]
    assert set(_labels(co3d("stream", video, "--json", "--model", path))) <= {"left", "right"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mean", "0.4,0.4,0.4"), "give --rate-hz"),
        ((*CARD[:-1], "1,2"), "expected R,G,B"),
        ((*CARD[:-1], "1,0,1"), "--std 1,0,1, expected above 0"),
        ((*CARD, "--short-side", 8), "--short-side 8, expected at least 72"),
        ((*CARD, "--labels", "nowhere.txt"), "--labels nowhere.txt"),
        ((*CARD, "--labels", __file__), "names, expected one for each output"),
    ],
)
def test_impossible_descriptions_are_refused(co3d, tmp_path, network, options, said):
    outcome = co3d(*network, "--output", tmp_path / "a.safetensors", *options)
    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "a.safetensors").exists()
