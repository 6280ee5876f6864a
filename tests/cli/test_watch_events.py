"""Events of `co3d watch`: printed, kept, and delivered."""

import json
import os
import signal
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from co3d.engine.events import EventLog
from co3d.video import read_video
from support.servers import send, send_slowly, serve
from support.videos import make_broadcast, write_video

LABEL, OTHER = "class 0", "class 1"


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("watch") / "door.mp4", 64)


@pytest.fixture
def write(tmp_path, video):
    def write(rules: str, outputs: str = "", source: object = video) -> Path:
        path = tmp_path / "fleet.yaml"
        path.write_text(
            "network: {weights: random}\n"
            f"cameras: [{{name: door, source: '{source}', policy: every}}]\n"
            f"events: {{folder: '{tmp_path}/events'}}\n"
            f"rules:\n{rules}\noutputs: [{outputs}]\n"
        )
        return path

    return write


def read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rule(name: str = "any", **more: object) -> str:
    """A rule that holds for whatever the network says."""
    values = {"name": name, "labels": [LABEL], "threshold": 0.01, "update_seconds": None} | more
    return f"  - {json.dumps(values)}"


def test_events_are_printed_kept_and_delivered(co3d_watch, write, tmp_path):
    outputs = (
        f"{{name: lines, type: json, path: '{tmp_path}/events.jsonl'}},"
        f"{{name: folder, type: folder, path: '{tmp_path}/out'}}"
    )
    clip = {"before_seconds": 1, "after_seconds": 1}
    outcome = co3d_watch("watch", write(rule(clip=clip), outputs), "--json")
    assert outcome.code == 0, outcome.err
    printed = [line for line in outcome.lines if line["type"] == "event"]
    assert [line["kind"] for line in printed] in (
        ["start", "media", "end", "media"],
        ["start", "end", "media", "media"],
        ["start", "media", "media", "end"],
    )
    assert {(line["camera"], line["rule"], line["label"]) for line in printed} == {
        ("door", "any", LABEL)
    }
    assert len({line["id"] for line in printed}) == 1
    (end,) = (line for line in printed if line["kind"] == "end")
    assert (end["cause"], end["started_at"]) == ("over", None)
    predictions = [line["pts_seconds"] for line in outcome.lines if line.get("valid")]
    assert (end["start_pts_seconds"], end["end_pts_seconds"]) == (predictions[0], predictions[-1])
    assert read_lines(tmp_path / "events.jsonl") == printed
    (folder,) = (tmp_path / "out").iterdir()
    said = json.loads((folder / "event.json").read_text())
    assert (said["picture"], said["clip"]) == ("picture.jpg", "clip.mkv")
    assert read_picture(folder / "picture.jpg").shape == (64, 96, 3)
    with read_video(folder / "clip.mkv") as reader:
        assert len(list(reader)) == 64
    with EventLog(tmp_path / "events") as log:
        assert [cursor.waiting for cursor in log.list_cursors()] == [0, 0]
        assert log.list_events()[0].id == end["id"]


def test_the_picture_shows_the_moment(co3d_watch, write, tmp_path, video):
    co3d_watch("watch", write(rule()), "--json")
    with EventLog(tmp_path / "events") as log:
        (event,) = log.list_events()
        picture = read_picture(log.find_media(event.picture))
    with read_video(video) as reader:
        shown = {frame.pts_seconds: frame.image for frame in reader}
    distances = {seconds: abs(image - picture).mean() for seconds, image in shown.items()}
    assert min(distances, key=distances.get) == event.start_pts_seconds


def test_events_are_readable_lines(co3d_watch, write):
    outcome = co3d_watch("watch", write(rule(picture=False)))
    assert outcome.code == 0, outcome.err
    assert f"event any: {LABEL} begins" in outcome.out
    assert f"event any: {LABEL} is over (over) after" in outcome.out


def test_a_region_has_a_track_of_its_own(co3d_watch, write):
    rules = "\n".join((rule("all"), rule("part", region=[0, 0, 48, 64])))
    outcome = co3d_watch("watch", write(rules), "--json")
    assert outcome.code == 0, outcome.err
    tracks = [line["camera"] for line in outcome.lines if line["type"] == "prediction"]
    assert tracks.count("door") == tracks.count("door [0,0,48,64]") == 32
    starts = [line for line in outcome.lines if line.get("kind") == "start"]
    assert sorted((line["camera"], line["rule"]) for line in starts) == [
        ("door", "all"), ("door", "part")
    ]  # fmt: skip
    assert starts[0]["peak"] != starts[1]["peak"]  # they saw other pictures


def test_a_region_outside_of_the_picture_is_one_error(co3d_watch, write):
    outcome = co3d_watch("watch", write(rule("part", region=[64, 0, 64, 64])), "--json")
    assert outcome.code == 2
    assert outcome.err.count("64x64 pixels at 64,0") == 1


def test_a_label_that_is_not_there_is_named_with_its_line(co3d_watch, write):
    for arguments in ((), ("--check",)):
        outcome = co3d_watch("watch", write(rule(labels=[LABEL, "clas 0"])), *arguments)
        assert outcome.code == 60
        assert f"line 5: the network has no label 'clas 0': did you mean {LABEL}?" in (outcome.err)


def test_check_tries_outputs_without_an_event(co3d_watch, write, tmp_path):
    heads: list[str] = []

    def answer(handler, _number):
        heads.append(handler.command)
        send(handler, b"")

    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ntouch started\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with serve(answer) as url:
        outputs = ", ".join(
            (
                f"{{name: hook, type: webhook, url: '{url}'}}",
                f"{{name: run, type: command, command: ['{program}']}}",
                "{name: none, type: command, command: [/nowhere/program]}",
                "{name: gone, type: webhook, url: 'http://127.0.0.1:9/SECRET'}",
            )
        )
        outcome = co3d_watch("watch", write(rule(), outputs), "--check")
    assert outcome.code == 40
    assert "output hook: works" in outcome.out
    assert "output run: works" in outcome.out
    assert "output none: cannot start /nowhere/program" in outcome.out
    assert "output gone: cannot reach the webhook http://127.0.0.1:9: " in outcome.out
    assert "SECRET" not in outcome.out + outcome.err
    assert not (tmp_path / "events").exists()
    assert not (tmp_path / "started").exists()


def test_rules_and_outputs_change_while_cameras_go_on(co3d_watch, write, tmp_path):
    live, over, asked = make_broadcast(tmp_path / "live.flv", 160), threading.Event(), []
    lines, most = tmp_path / "events.jsonl", len(live) * 4 // 5
    output = f"{{name: lines, type: json, path: '{lines}'}}"

    def wait_for(text: str) -> None:
        until = time.monotonic() + 20
        while not (lines.exists() and text in lines.read_text()) and time.monotonic() < until:
            time.sleep(0.02)

    def answer(handler, _number):
        asked.append(handler.path)
        send(handler, b"")
        send_slowly(handler, live[:most], over, 3.0)
        wait_for('"rule": "first"')
        write(rule("second", labels=[OTHER]), output, url)  # which is read within a second
        wait_for('"cause": "removed"')
        send_slowly(handler, live[most:], over, 1.0)
        wait_for('"rule": "second"')
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(30)

    with serve(answer) as url:
        outcome = co3d_watch("watch", write(rule("first"), output, url), "--json")
        over.set()
    assert outcome.code == 130, outcome.err
    assert len(asked) == 1  # the camera was not opened again
    said = read_lines(lines)
    causes = {line["rule"]: line["cause"] for line in said if line["kind"] == "end"}
    assert causes == {"first": "removed", "second": "stopped"}
