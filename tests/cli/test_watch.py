"""`co3d watch`, and `co3d stream` of several sources."""

import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from co3d.cli.file_watcher import FileWatcher
from co3d.cli.lines import JsonLines
from support.servers import play, serve
from support.videos import make_broadcast, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("watch")
    return [write_video(folder / f"{name}.mp4", 40) for name in ("door", "yard")]


@pytest.fixture
def write_fleet(tmp_path):
    def write(**sources: object) -> Path:
        lines = ["network: {weights: random}", "cameras:"]
        lines += [f"  - {{name: {name}, source: '{where}'}}" for name, where in sources.items()]
        path = tmp_path / "fleet.yaml"
        path.write_text("\n".join(lines))
        return path

    return write


def test_cameras_are_labelled_side_by_side(co3d_watch, write_fleet, videos):
    fleet = write_fleet(door=videos[0], yard=videos[1])
    outcome = co3d_watch("watch", fleet, "--json")
    assert outcome.code == 0, outcome.err
    for name in ("door", "yard"):
        mine = [line for line in outcome.lines if line["camera"] == name]
        assert [line["frame_index"] for line in mine] == list(range(0, 40, 2))
        assert {line["type"] for line in mine} == {"prediction"}


def test_a_part_of_the_cameras_is_labelled(co3d_watch, write_fleet, videos):
    fleet = write_fleet(door=videos[0], yard=videos[1])
    outcome = co3d_watch("watch", fleet, "--json", "--part", "2/2")
    assert outcome.code == 0, outcome.err
    assert {line["camera"] for line in outcome.lines} == {"yard"}
    for wrong in ("3/2", "0/2", "half"):
        assert "expected such as 1/4" in co3d_watch("watch", fleet, "--part", wrong).err


def test_several_sources_of_stream(co3d_watch, videos):
    outcome = co3d_watch("stream", *videos, "--weights", "random")
    assert outcome.code == 0, outcome.err
    for path in videos:
        assert outcome.out.count(str(path)) == 20


def test_one_bad_source_ends_alone_and_gives_its_exit_code(co3d_watch, videos):
    outcome = co3d_watch("stream", videos[0], "/nowhere.mp4", "--json")
    assert outcome.code == 10
    assert len(outcome.lines) == 20
    assert "error: /nowhere.mp4: cannot open /nowhere.mp4: no such file" in outcome.err


def test_notices_of_a_source_are_printed_once(co3d_watch, tmp_path, videos):
    slow = write_video(tmp_path / "slow.mp4", 12, rate_hz=2)
    outcome = co3d_watch("stream", slow, videos[0], "--json", "--weights", "random")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("2 new pictures a second where 8 are expected") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "a.mp4"], "several sources"),
        (["--timeline", "a.png"], "several sources"),
        (["--record", "a"], "several sources"),
    ],
)
def test_outputs_are_for_one_source(co3d_watch, videos, options, said):
    outcome = co3d_watch("stream", *videos, *options)
    assert outcome.code == 2
    assert said in outcome.err


def test_a_source_is_named_once(co3d_watch, videos):
    outcome = co3d_watch("stream", videos[0], videos[0])
    assert outcome.code == 2
    assert "twice" in outcome.err


def test_passwords_of_sources_are_not_shown(co3d_watch, videos):
    address = "http://me:secret@127.0.0.1:9/a"
    outcome = co3d_watch("stream", videos[0], address, "--reconnect", "0", "--json")
    assert outcome.code == 15
    assert "secret" not in outcome.out + outcome.err
    assert "me:***@127.0.0.1:9" in outcome.err


def test_check_reports_whether_cameras_fit(co3d_watch, write_fleet, videos):
    fleet = write_fleet(door=videos[0], yard=videos[1])
    outcome = co3d_watch("watch", fleet, "--check", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = outcome.lines
    assert 0 < found["load"] < 0.8
    door, yard = found["cameras"]
    assert (door["name"], door["width"], door["height"]) == ("door", 96, 64)
    assert (door["source_rate_hz"], door["rate_hz"], door["error"]) == (16, 8, None)
    assert yard["cost_ms"] > 0
    assert "opening yard" in outcome.err


def test_check_prints_a_table_and_what_fails(co3d_watch, write_fleet, videos):
    fleet = write_fleet(door=videos[0], yard="/nowhere.mp4")
    outcome = co3d_watch("watch", fleet, "--check")
    assert outcome.code == 10
    assert "96x64" in outcome.out
    assert "yard: cannot open /nowhere.mp4" in outcome.out
    assert "that fits (at most 80%)" in outcome.out


def test_check_does_not_show_a_password_with_a_space(co3d_watch, write_fleet):
    fleet = write_fleet(door="rtsp://me:se cret@127.0.0.1:9/1")
    outcome = co3d_watch("watch", fleet, "--check")
    assert outcome.code == 15
    assert "opening door" in outcome.err
    assert not {"se", "cret"} & set(re.split(r"\W+", outcome.out + outcome.err))


def test_check_reports_a_fleet_that_is_too_large(co3d_watch, tmp_path, videos):
    cameras = "\n".join(
        f"  - {{name: '{n}', source: '{videos[0]}', rate_hz: 1000}}" for n in range(4)
    )
    (tmp_path / "fleet.yaml").write_text(f"cameras:\n{cameras}\n")
    outcome = co3d_watch("watch", tmp_path / "fleet.yaml", "--check")
    assert outcome.code == 38
    assert "is too much" in outcome.out


def test_a_mistake_in_the_file_is_one_line(co3d, tmp_path):
    (tmp_path / "fleet.yaml").write_text("cameras:\n  - name: door\n    sauce: 0\n")
    outcome = co3d("watch", tmp_path / "fleet.yaml")
    assert outcome.code == 60
    assert "line 3: unknown key cameras.0.sauce: did you mean source?" in outcome.err


@pytest.fixture(scope="module")
def live_bytes(tmp_path_factory) -> bytes:
    return make_broadcast(tmp_path_factory.mktemp("live") / "live.flv", 160)


def test_a_changed_file_changes_the_cameras_and_ctrl_c_ends(
    co3d_watch, write_fleet, live_bytes, monkeypatch
):
    over, shown, add = threading.Event(), threading.Event(), JsonLines.add
    asked: list[str] = []

    def add_and_tell(self, prediction):
        add(self, prediction)
        shown.set()

    monkeypatch.setattr(JsonLines, "add", add_and_tell)

    def answer(handler, _number):
        asked.append(handler.path)
        if handler.path.endswith("/b"):
            shown.wait(30)
            os.kill(os.getpid(), signal.SIGINT)
        if handler.path.endswith("/a"):
            # Reading on takes a second: see the file's time.
            write_fleet(a=f"{url}/a", b=f"{url}/b")
        play(handler, live_bytes, over)

    with serve(answer) as url:
        outcome = co3d_watch("watch", write_fleet(a=f"{url}/a"), "--json")
        over.set()
    assert outcome.code == 130, outcome.err
    assert [path[-1] for path in asked] == ["a", "b"]
    assert "was reloaded: 2 cameras" in outcome.err
    mine = [line for line in outcome.lines if line["camera"] == "a"]
    states = [line["state"] for line in mine if line["type"] == "state"]
    assert states[:2] == ["connecting", "live"]
    assert any(line["type"] == "prediction" for line in outcome.lines)


def test_a_restart_loses_no_warm_up(co3d_watch, tmp_path, live_bytes, monkeypatch):
    asked, over, add = threading.Event(), threading.Event(), JsonLines.add

    def add_and_stop(self, prediction):
        add(self, prediction)
        if prediction.valid and asked.is_set():  # a second signal would break in
            asked.clear()
            signal.raise_signal(signal.SIGTERM)

    def answer(handler, _number):
        asked.set()
        play(handler, live_bytes, over)

    fleet = tmp_path / "fleet.yaml"
    with serve(answer) as url:
        fleet.write_text(f"cameras: [{{name: door, source: '{url}', gap: keep}}]")
        monkeypatch.setattr(JsonLines, "add", add_and_stop)
        first = co3d_watch("watch", fleet, "--json", "--state", tmp_path / "state")
        assert len(list((tmp_path / "state").iterdir())) == 1
        second = co3d_watch("watch", fleet, "--json", "--state", tmp_path / "state")
        over.set()
    for outcome, is_warm in ((first, False), (second, True)):
        assert outcome.code == 130, outcome.err
        assert "warms up" not in outcome.err
        made = [line for line in outcome.lines if line["type"] == "prediction"]
        assert made[0]["valid"] == is_warm
    assert len(list((tmp_path / "state").iterdir())) == 1


def test_a_file_is_watched(tmp_path):
    path, called = tmp_path / "file", threading.Event()
    path.write_text("a")
    with FileWatcher(path, called.set) as watcher:
        watcher.notify()
        assert called.wait(10)
        called.clear()
        other = tmp_path / "other"
        other.write_text(json.dumps("longer"))
        other.replace(path)
        assert called.wait(10)
