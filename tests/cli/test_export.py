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
    ],
)
def test_bad_options_name_what_to_do(co3d, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    outcome = co3d("export", "camera_motion", "--output", "a.onnx", *arguments)
    assert outcome.code == code
    assert outcome.err.splitlines()[-1].startswith("error: cannot")
    assert not (tmp_path / "a.onnx").exists()


def test_streaming_a_file_with_options_that_it_settles_is_refused(co3d, tmp_path):
    path, video = tmp_path / "a.onnx", write_video(tmp_path / "v.mkv", 10)
    assert co3d("export", "camera_motion", "--output", path).code == 0
    for options in (("--window", 4), ("--weights", "x"), ("--precision", "bfloat16")):
        outcome = co3d("stream", video, "--model", path, *options)
        assert outcome.code == 2
    assert co3d("stream", video, "--model", tmp_path / "b.onnx").code == 10
