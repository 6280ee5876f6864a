"""`--sandbox`, and the processes that commands start."""

import os

import pytest

from co3d import sandbox
from co3d.errors import SandboxError
from co3d.video import read_video, sandboxed_source
from co3d.video.sandboxed_source import serve_source
from support.videos import write_video


@pytest.mark.slow
def test_a_stream_is_the_same(co3d, tmp_path):
    write_video(tmp_path / "a.mp4", frames=8, size=(32, 32))
    commands = [("stream", *flag, tmp_path / "a.mp4", "--json") for flag in ([], ["--sandbox"])]
    outcomes = [co3d(*command) for command in commands]
    tops = [[line["top"] for line in outcome.lines] for outcome in outcomes]
    assert tops[0] == tops[1] != []


def test_a_command_reads_in_a_sandbox_and_closes_it(co3d, tmp_path, monkeypatch):
    opened = []

    def converse(self, *_):
        opened.append(self)
        raise SandboxError("it died")

    monkeypatch.setattr(sandbox.Sandbox, "converse", converse)
    (tmp_path / "a.mp4").touch()
    outcome = co3d("stream", "--sandbox", tmp_path / "a.mp4")
    assert outcome.code == SandboxError.exit_code
    assert "a.mp4: it died" in outcome.err
    assert len(opened) == 1
    assert sandbox.find_sandbox() is None


def test_processes_of_commands_run_no_module_of_the_working_folder(co3d, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    co3d("--version")
    assert os.environ["PYTHONSAFEPATH"] == "1"


@pytest.mark.slow
def test_a_decoder_that_dies_on_the_way_leaves_whole_outputs(co3d, tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", frames=40, size=(32, 32))
    monkeypatch.setattr(sandboxed_source, "serve_source", serve_and_die)
    outcome = co3d("stream", "--sandbox", tmp_path / "a.mp4", "--output", tmp_path / "out.mp4")
    assert outcome.code == SandboxError.exit_code
    with read_video(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) > 0


def serve_and_die(channel, *arguments) -> None:
    """Send a few frames, and die; runs in the child."""
    rest = iter(range(8))
    say = channel.say
    channel.say = lambda message: say(message) if next(rest, None) is not None else os._exit(1)
    serve_source(channel, *arguments)
