"""Every mistake a user can make: one line, its own exit code, nothing half-written."""

import resource
import socket
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import save_file

RANDOM = ("--weights", "random")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder / "out.mp4"


def expect_error(outcome, code: int, *fragments: str) -> None:
    assert outcome.code == code
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("error: ")
    for fragment in fragments:
        assert fragment in outcome.err


def text_file(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("this is not a video\n" * 100)
    return path


def sound_file(folder: Path) -> Path:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def video_without_frames(folder: Path) -> Path:
    path = folder / "hollow.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path


def empty_folder(folder: Path) -> Path:
    path = folder / "frames"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make_source", "code"),
    [
        (lambda folder: folder / "absent.mp4", 10),
        (text_file, 11),
        (empty_file, 13),
        (sound_file, 12),
        (video_without_frames, 13),
        (empty_folder, 13),
    ],
)
def test_sources_that_are_no_video(co3d, tmp_path, output, make_source, code):
    source = make_source(tmp_path)
    outcome = co3d("stream", source, *RANDOM, "--json", "--output", output)
    expect_error(outcome, code, source.name)
    assert not list(output.parent.iterdir())


def test_an_absent_camera(co3d, output):
    expect_error(co3d("stream", 97, *RANDOM, "--output", output), 14, "97")
    assert not output.exists()


def test_an_address_where_nobody_answers(co3d, output):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    url = f"http://127.0.0.1:{port}/video.mp4"
    outcome = co3d("stream", url, *RANDOM, "--reconnect", 0, "--output", output)
    expect_error(outcome, 15, str(port))
    assert not output.exists()


def test_a_negative_time_to_reconnect(co3d, video):
    expect_error(co3d("stream", video, *RANDOM, "--reconnect", -1), 2, "reconnect")


def test_an_unknown_model_suggests_the_nearest_name(co3d, video):
    expect_error(co3d("stream", video, "--model", "x3d_n"), 20, "x3d_m")
    expect_error(co3d("explain", "camera_moton"), 20, "camera_motion")


def test_an_unknown_weight_tag(co3d, video):
    outcome = co3d("stream", video, "--model", "x3d_m", "--weights", "kinetics")
    expect_error(outcome, 20, "kinetics400")


def test_a_model_without_weights(co3d, video):
    expect_error(co3d("stream", video, "--model", "x3d_m"), 2, "--weights kinetics400")


def test_weights_that_do_not_fit(co3d, video, tmp_path, output):
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(2, 2)}, path)
    outcome = co3d("stream", video, "--weights", path, "--output", output)
    expect_error(outcome, 21, "conv.weight")
    assert not output.exists()


def test_weights_that_are_no_checkpoint(co3d, video, tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"nonsense")
    expect_error(co3d("stream", video, "--weights", path), 21, "broken.safetensors")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("--window", 0), "window"),
        (("--window", -3), "window"),
        (("--top", 0), "--top 9"),
        (("--top", 100), "--top 9"),
        (("--threads", 0), "--threads 1"),
        (("--rate-hz", 0), "rate"),
        (("--rate-hz", "nan"), "rate"),
        (("--timeline", "timeline.docx"), ".png"),
    ],
)
def test_option_values_that_cannot_work(co3d, video, monkeypatch, tmp_path, arguments, fragment):
    monkeypatch.chdir(tmp_path)
    outcome = co3d("stream", video, *RANDOM, "--json", "--output", "out.mp4", *arguments)
    expect_error(outcome, 2, fragment)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--output", "--timeline"])
def test_an_output_in_a_folder_that_does_not_exist(co3d, video, tmp_path, option):
    suffix = ".mp4" if option == "--output" else ".png"
    outcome = co3d("stream", video, *RANDOM, "--json", option, tmp_path / "absent" / f"out{suffix}")
    expect_error(outcome, 40, "there is no folder", "absent")


@pytest.fixture
def room_for_4_kb() -> Iterator[None]:
    """No file of this process may grow beyond 4 kB, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("room_for_4_kb")
@pytest.mark.parametrize("option", ["--output", "--timeline"])
def test_a_disk_that_fills_up(co3d, video, tmp_path, option):
    path = tmp_path / ("out.mp4" if option == "--output" else "out.png")
    outcome = co3d("stream", video, *RANDOM, "--json", option, path)
    assert outcome.code == 40
    lines = outcome.err.splitlines()
    if "kernels in the background" in lines[0]:  # no test has waited for them yet
        del lines[0]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: cannot write {path}")
    assert not list(tmp_path.iterdir())  # in so little room no picture plays
    assert "it holds what was written" not in outcome.err


def test_an_output_of_an_unknown_kind(co3d, video, tmp_path):
    outcome = co3d("stream", video, *RANDOM, "--output", tmp_path / "out.gif")
    expect_error(outcome, 40, ".gif", ".mp4")


def test_the_source_is_never_written_over(co3d, video):
    before = video.read_bytes()
    outcome = co3d("stream", video, *RANDOM, "--output", video)
    expect_error(outcome, 2, "another output")
    assert video.read_bytes() == before


def test_two_outputs_need_two_names(co3d, video, tmp_path):
    path = tmp_path / "out.png"
    outcome = co3d("stream", video, *RANDOM, "--output", path, "--timeline", path)
    expect_error(outcome, 2, "two files")


def test_a_size_that_the_network_cannot_take(co3d):
    expect_error(co3d("explain", "x3d_m", "--clip", "3,16,8,8"), 31, "8")
    expect_error(co3d("explain", "x3d_m", "--clip", "3,16,0,0"), 2, "0")


def test_a_demo_that_cannot_write(co3d, tmp_path):
    (tmp_path / "file").touch()
    expect_error(co3d("demo", "--output-dir", tmp_path / "file" / "demo"), 40, "--output-dir")


@pytest.mark.parametrize("arguments", [("stream",), ("stream", "a", "--colour"), ("straem", "a")])
def test_a_wrong_command_line_shows_the_usage(co3d, arguments):
    outcome = co3d(*arguments)
    assert outcome.code == 2
    assert "Usage: co3d" in outcome.err
    assert outcome.out == ""


def test_errors_can_be_shown(co3d, tmp_path):
    outcome = co3d("stream", str(tmp_path / "a\x1b[2Jb.mp4"))
    assert "\x1b" not in outcome.err
    assert r"a\x1b[2Jb.mp4" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "doctor", "set", "ADDRESS"),
        ("ADDRESS",),
        ("weights", "ADDRESS"),
        ("explain", "x3d_s", "--rate", "ADDRESS"),
        ("data", "prepare", "set", "--output", "ADDRESS"),
    ],
)
def test_no_wrong_command_line_tells_secrets(co3d, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    address = "rtsp://me:secret@host/x?token=hidden"
    outcome = co3d(*(address if word == "ADDRESS" else word for word in arguments))
    assert outcome.code in {2, 16, 40}
    assert not any(word in outcome.out + outcome.err for word in ("secret", "hidden"))
    assert not list(tmp_path.iterdir())
