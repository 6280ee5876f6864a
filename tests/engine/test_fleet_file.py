import inspect
import os
from pathlib import Path

import pytest

from co3d.engine.camera import Camera
from co3d.engine.fleet_file import read_fleet
from co3d.engine.opening import open_engine
from co3d.errors import FleetError, OptionError

FLEET = """\
network:
  model: camera_motion
defaults:
  rate_hz: 6
  gap: keep
cameras:
  - name: door
    source: rtsp://me:${DOOR_PASSWORD}@10.0.0.5/stream
    priority: 1
  - name: yard
    source: 0
    rate_hz: 8
    crop: [0, 0, 320, 240]
    top: 1
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        return path

    return write


def test_cameras_take_missing_options_from_the_defaults(write, monkeypatch):
    monkeypatch.setenv("DOOR_PASSWORD", "p@ss/word")
    door, yard = read_fleet(write(FLEET)).list_cameras()
    assert (
        read_fleet(write(FLEET.replace("top: 1", "decode: cuda"))).list_cameras()[1].decode
        == "cuda"
    )
    assert door == Camera(
        "door", "rtsp://me:p%40ss%2Fword@10.0.0.5/stream", rate_hz=6, gap="keep", priority=1
    )
    assert yard == Camera("yard", "0", rate_hz=8, gap="keep", crop=(0, 0, 320, 240), top_k=1)
    assert "p%40ss" not in repr(door)


def test_each_of_several_processes_has_its_cameras_events_and_topics(write):
    names = ("a", "b", "c", "d", "e")
    cameras = ", ".join(f"{{name: {name}, source: {name}.mp4}}" for name in names)
    outputs = "{name: home, type: mqtt, host: broker}, {name: lines, type: json, path: all.jsonl}"
    fleet = read_fleet(
        write(f"cameras: [{cameras}]\noutputs: [{outputs}]\nevents: {{folder: kept}}")
    )
    parts = [fleet.take_part(number, 2) for number in (1, 2)]
    assert [[one.name for one in part.list_cameras()] for part in parts] == [
        ["a", "c", "e"],
        ["b", "d"],
    ]
    assert [str(part.events.path) for part in parts] == [
        "kept/part-1-of-2",
        "kept/part-2-of-2",
    ]
    assert [part.outputs[0].prefix for part in parts] == ["co3d/1", "co3d/2"]
    assert [part.outputs[1] for part in parts] == [fleet.outputs[1]] * 2
    with pytest.raises(FleetError, match="in 6 parts: it has 5 cameras"):
        fleet.take_part(1, 6)


def test_a_file_names_the_classes_of_the_network(write, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("walk\nrun\n")
    text = f"network: {{model: x3d_s, labels: {names}}}\ncameras: [{{name: a, source: a.mp4}}]"
    keywords = read_fleet(write(text)).network.list_keywords()
    assert keywords["labels"] == ("walk", "run")
    assert keywords["model"] == "x3d_s"
    assert keywords.keys() <= {"model", *inspect.signature(open_engine).parameters}
    names.unlink()
    with pytest.raises(OptionError, match=r"cannot read network\.labels .*names\.txt"):
        read_fleet(write(text)).network.list_keywords()
    assert read_fleet(write("cameras: [{name: a, source: a.mp4}]")).network.labels is None


@pytest.mark.parametrize("word", ["off", '"off"'])
def test_tls_may_be_off_or_use_a_ca_file(write, word):
    said = FLEET.replace("top: 1", f"tls: {word}").replace("gap: keep", "ca_file: our.pem")
    cameras = read_fleet(write(said.replace("${DOOR_PASSWORD}", "me"))).list_cameras()
    assert [(camera.tls, camera.ca_file) for camera in cameras] == [
        ("verify", "our.pem"),
        ("off", None),
    ]
    with pytest.raises(FleetError, match=r"line 14: cameras\.1\.tls: got 'on'.*'verify' or 'off'"):
        read_fleet(write(FLEET.replace("top: 1", 'tls: "on"')))


def test_a_secret_may_be_in_a_file(write, tmp_path):
    (tmp_path / "secret").write_text("rtsp://me:pass@10.0.0.5/\nnothing\n")
    text = FLEET.replace(
        "rtsp://me:${DOOR_PASSWORD}@10.0.0.5/stream", f"${{file:{tmp_path}/secret}}"
    )
    assert read_fleet(write(text)).list_cameras()[0].source == "rtsp://me:pass@10.0.0.5/"


def test_a_missing_secret_is_named(write, monkeypatch, tmp_path):
    monkeypatch.delenv("DOOR_PASSWORD", raising=False)
    with pytest.raises(FleetError, match="environment variable 'DOOR_PASSWORD'"):
        read_fleet(write(FLEET)).list_cameras()
    with pytest.raises(FleetError, match="file '/nowhere'"):
        read_fleet(write(FLEET.replace("${DOOR_P", "${file:/nowhere}${DOOR_P"))).list_cameras()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    rate_hz: 8",
            "    rat_hz: 8",
            "line 12: unknown key cameras.1.rat_hz: did you mean rate_hz",
        ),
        (
            "  rate_hz: 6",
            "  rate_hz: 0",
            "line 4: defaults.rate_hz: got 0, expected greater than 0",
        ),
        ("  rate_hz: 6", "  rate_hz: fast", "line 4: defaults.rate_hz: got 'fast', expected"),
        ("model: c", "modle: c", "line 2: unknown key network.modle: did you mean model"),
        ("    source: 0\n", "", "line 10: cameras.1.source is missing"),
        ("source: 0", "source: [1]", "line 11: cameras.1.source.* expected an address"),
        ("name: yard", "name: door", "line 10: a second camera named 'door'"),
        ("gap: keep", "gap: hold", "line 5: defaults.gap: got 'hold', expected 'keep' or 'reset'"),
        (
            "gap: keep",
            "decode: gpu",
            "line 5: defaults.decode: cannot decode on 'gpu': choose",
        ),
        ("cameras:", "cameras: []\nothers:", "line 6: cameras: got a list"),
        (FLEET, "cameras", "got a str, expected `cameras:`"),
        (FLEET, "a: [", "no YAML"),
        (FLEET, "a: &a [1]\ncameras: *a", "aliases"),
        (FLEET, "[" * 1500, "no YAML"),
        ("name: yard", "name: 1\n    'rtsp://a:secret@b': 1", "unknown key"),
    ],
)
def test_mistakes_name_line_and_key(write, old, new, said):
    assert old in FLEET
    with pytest.raises(FleetError, match=said) as caught:
        read_fleet(write(FLEET.replace(old, new)))
    assert "secret" not in str(caught.value).replace("a:***", "")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FleetError, match="no such file"):
        read_fleet(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FleetError, match=r"bad\.yaml"):
        read_fleet(tmp_path / "bad.yaml")
    (tmp_path / "large.yaml").write_text("#" * (1 << 21))
    with pytest.raises(FleetError, match="more than"):
        read_fleet(tmp_path / "large.yaml")


def test_a_secret_is_read_from_no_pipe_or_device(write, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", "/dev/zero"):
        fleet = read_fleet(write(FLEET.replace("${DOOR_PASSWORD}", f"${{file:{name}}}")))
        with pytest.raises(
            FleetError, match=r"cannot open camera door: .* cannot be read: it is no file"
        ):
            fleet.list_cameras()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "!!int ''",
            "!!float ''",
            "!!bool " + "x" * 50_000,
            "1\n  " + "k" * 50_000 + ": 1",
            "!!timestamp never",
            "{[a]: 1}",
        ),
        *("0x" + "f" * 5000, "[" * 5000, "\n" + "".join(f"  k{i}: 1\n" for i in range(5000))),
    ],
)
def test_odd_yaml_is_refused_with_a_short_message(write, text):
    with pytest.raises(FleetError) as info:
        read_fleet(write(f"defaults:\n  rate_hz: {text}\n" + FLEET[FLEET.index("cameras") :]))
    assert len(str(info.value)) < 5000
