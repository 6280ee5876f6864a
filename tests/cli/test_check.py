import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from co3d.compiler.rules import conv
from co3d.parity import streams
from co3d.parity.streams import FrameStream, stream_video_file
from support.videos import cut_short

NETWORK = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        x = x - x.flip(2)
        return self.gru(x.mean((3, 4)).transpose(1, 2))[0][:, -1]


class Branching(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.rand(1, 3, 6, 1, 1))

    def forward(self, x):
        print("hello")
        return (x + self.place).mean((2, 3, 4))
"""
CLIP = ("--clip", "3,6,8,8")
ONE_CLIP = (*CLIP, "--lengths", "6")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "my_network.py"
    path.write_text(NETWORK)
    return path


def test_a_users_network_passes(co3d, network):
    outcome = co3d("check", f"{network}:build", *CLIP)
    assert outcome.code == 0
    assert "steps equal clips" in outcome.out
    assert "on clips of 6, 3, 7 frames, float64" in outcome.out


def test_json_lists_every_value(co3d, network):
    outcome = co3d("check", f"{network}:build", *CLIP, "--lengths", "5,9", "--json")
    found = json.loads(outcome.out)
    assert found["passed"] is True
    assert found["first_mismatch"] is None
    assert found["lengths"] == [6, 5, 9]
    assert [value["module_path"] for value in found["values"]] == ["0", "1", "2", "2", "3", "4"]
    assert all(value["difference"] <= found["tolerance"] for value in found["values"])


def test_weights_are_loaded_into_a_users_network(co3d, network, tmp_path):
    shapes = {"0.weight": (4, 3, 3, 3, 3), "0.bias": (4,), "4.weight": (5, 4), "4.bias": (5,)}
    own = tmp_path / "own.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, own)
    outcome = co3d("check", f"{network}:build", *ONE_CLIP, "--weights", own)
    assert outcome.code == 33  # zeros for every clip: that steps equal them proves nothing
    assert "values zero on all of these clips" in outcome.out
    foreign = tmp_path / "foreign.safetensors"
    save_file({"other.weight": torch.zeros(3)}, foreign)
    outcome = co3d("check", f"{network}:build", *CLIP, "--weights", foreign)
    assert outcome.code == 21
    assert "other.weight" in outcome.err
    assert outcome.out == ""


def test_the_values_that_differ_most_are_listed_or_all(co3d, network, monkeypatch):
    monkeypatch.setattr("co3d.cli.proof.SHOWN", 2)
    some = co3d("check", f"{network}:build", *ONE_CLIP, "--precision", "float32").out
    assert "the values that differ most" in some
    assert some.count(".default") + some.count(".dim") == 2
    every = co3d("check", f"{network}:build", *ONE_CLIP, "--precision", "float32", "--all").out
    assert "every value" in every
    assert every.count(".default") + every.count(".dim") == 6
    assert "float32; at most 1e-05 is rounding" in every


def test_what_a_network_prints_does_not_mix_with_the_result(co3d, network):
    outcome = co3d("check", f"{network}:Fixed", *ONE_CLIP, "--fallback", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["fallbacks"]
    assert "hello" in outcome.err


def test_lengths_that_do_not_fit_are_left_out_with_one_line_each(co3d, network):
    outcome = co3d("check", f"{network}:Fixed", *CLIP, "--fallback")
    notes = [line for line in outcome.out.splitlines() if line.startswith("note: ")]
    assert [note.split(" left out: ")[0] for note in notes] == [
        "note: clips of 3 frames",
        "note: clips of 7 frames",
    ]
    assert "on clips of 6 frames, float64" in outcome.out


def test_torch_prints_no_warning_for_lengths_that_do_not_fit(co3d, network):
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    logger.addHandler(handler)
    try:
        co3d("check", f"{network}:Fixed", *CLIP, "--fallback")
    finally:
        logger.removeHandler(handler)
    assert not said


def test_a_mismatch_has_its_own_exit_code(co3d, network, monkeypatch):
    original = conv.temporal_uses
    monkeypatch.setattr(conv, "temporal_uses", lambda *a, **k: original(*a, **k)[::-1])
    outcome = co3d("check", f"{network}:build", *ONE_CLIP)
    assert outcome.code == 33
    assert "steps equal clips" not in outcome.out
    assert "the finished program" in outcome.err
    (line,) = outcome.err.splitlines()
    assert "first at conv3d (conv3d.default in 0)" in line
    found = json.loads(co3d("check", f"{network}:build", *ONE_CLIP, "--json").out)
    assert found["passed"] is False
    assert found["first_mismatch"] == "conv3d"


def test_one_report_lists_everything_that_cannot_be_converted(co3d, network):
    outcome = co3d("check", f"{network}:Mixing", *CLIP)
    assert outcome.code == 30
    lines = outcome.err.splitlines()
    assert "1 operator" in lines[0]
    assert "aten.flip" in lines[1]
    assert "my_network.py" in lines[1]
    assert "fallback=True" in lines[-1]
    assert co3d("check", f"{network}:Mixing", *ONE_CLIP, "--fallback").code == 0


def test_a_branch_on_values_is_reported_with_the_users_line(co3d, network):
    outcome = co3d("check", f"{network}:Branching", *CLIP)
    assert outcome.code == 30
    (line,) = outcome.err.splitlines()
    assert "data-dependent branch in the model (Branching)" in line
    assert f'File "{network}"' in line
    assert "torch.where" in line


def test_a_clip_that_does_not_fit_is_reported_with_its_module(co3d, network):
    outcome = co3d("check", f"{network}:build", "--clip", "4,6,8,8")
    assert outcome.code == 30
    assert "in 0 (Conv3d)" in outcome.err
    assert "to have 3 channels, but got 4" in outcome.err
    assert "<string>" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (("--lengths", "5;9"), 2, "expected numbers"),
        (("--lengths", "0"), 2, "at least 1"),
        (("--window", 0), 2, "at least 1"),
        (("--spread",), 2, "rate"),
        (("--clip", "3,6,8,8"), 30, "too many positional arguments"),
    ],
)
def test_options_that_cannot_work(co3d, network, arguments, code, fragment):
    outcome = co3d("check", f"{network}:build", *CLIP, *arguments)
    assert outcome.code == code
    assert fragment in outcome.err
    assert len(outcome.err.splitlines()) == 1


COMPARED = ("--backend", "torch", "--precision", "float32,bfloat16")


def test_backends_are_compared_on_a_video(co3d, video, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = co3d("check", "camera_motion", *COMPARED, "--video", video, "--frames", 9)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines() if line.startswith("torch")]
    assert [row[:2] for row in rows] == [["torch", "float32"], ["torch", "bfloat16"]]
    assert [row[6] for row in rows] == ["9", "9"]
    assert rows[0][-1] == "kept"
    assert f"streams: {video.name}" in outcome.out
    assert "on 0.5% of the frames at most" in outcome.out
    assert "default: native in float32" in outcome.out
    assert "random" not in outcome.out


def test_the_json_of_a_comparison_has_everything_in_the_table(co3d, monkeypatch):
    monkeypatch.setattr(streams, "JOURNEYS_AT_ONCE", 1)  # film no more than is shown
    monkeypatch.setattr(streams, "JOURNEY_SECONDS", 3)
    monkeypatch.setattr(streams, "CROPS_PER_PHOTOGRAPH", 1)
    monkeypatch.setattr(streams, "TEXTURES_PER_KIND", 1)
    outcome = co3d("check", "camera_motion", *COMPARED, "--frames", 12, "--device", "cpu", "--json")
    found = json.loads(outcome.out)
    assert found["device"] == "cpu"
    assert found["streams"] == ["sample.mp4", "virtual camera 1"]
    assert found["random_weights"] is False
    assert found["default"]["backend"] == "native"
    exact, rough = found["rows"]
    assert exact["frames"] == rough["frames"] == 12
    assert exact["agreement"] == 1
    assert 0 < exact["logits"]["median"] <= exact["logits"]["worst"] <= exact["tolerance"]
    assert rough["features"]["worst"] > 100 * exact["features"]["worst"]
    assert rough["tolerance"] is None


def test_random_weights_give_a_note(co3d, video):
    options = ("--weights", "random", "--video", video, "--frames", 2)
    outcome = co3d("check", "camera_motion", *COMPARED, *options)
    assert outcome.code == 0
    assert "the weights are random" in outcome.out


def test_a_users_network_gets_videos_and_a_note_on_their_preparation(co3d, network, video):
    options = ("--clip", "3,6,20,24", "--backend", "torch", "--video", video, "--frames", 5)
    outcome = co3d("check", f"{network}:build", *options)
    assert outcome.code == 0
    assert "100.00 %" in outcome.out
    assert "note: the network does not describe its input" in outcome.out


def test_float32_errors_beyond_rounding_have_an_exit_code(co3d, video, monkeypatch):
    monkeypatch.setattr("co3d.parity.precision_report.FLOAT32_TOLERANCE", 1e-12)
    outcome = co3d("check", "camera_motion", *COMPARED, "--video", video, "--frames", 2)
    assert outcome.code == 33
    assert "\ntorch " in outcome.out
    assert "torch in float32 differs from float64" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_damaged_video_is_compared_as_far_as_it_goes(co3d, video, tmp_path):
    damaged = cut_short(video, tmp_path / "damaged.mkv", 0.8)
    outcome = co3d("check", "camera_motion", *COMPARED, "--video", damaged)
    assert outcome.code == 0
    assert "note: " in outcome.out
    assert "damaged.mkv" in outcome.out.partition("note: ")[2]


def test_ctrl_c_reports_the_frames_until_there(co3d, video, monkeypatch):
    def play_and_stop(path, card, frame_shapes):
        whole = stream_video_file(path, card, frame_shapes)

        def frames():
            yield from list(whole.open())[:15]
            raise KeyboardInterrupt

        return FrameStream(whole.name, frames)

    monkeypatch.setattr("co3d.cli.precisions.stream_video_file", play_and_stop)
    outcome = co3d("check", "camera_motion", *COMPARED, "--video", video)
    assert outcome.code == 130
    assert "stopped before all frames were compared" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if line.startswith("torch")]
    assert [row[6] for row in rows] == ["4", "4"]


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (("--frames", 5), 2, "add --backend"),
        (("--video", "x.mp4"), 2, "add --backend"),
        (("--device", "meta"), 2, "add --backend"),
        (("--backend", "all", "--device", "warp"), 2, "on device 'warp'"),
        (("--backend", "native", "--device", "meta"), 2, "on meta; try --backend torch"),
        (("--precision", "float64,float32"), 2, "add --backend"),
        (("--precision", "int4"), 2, "expected one of"),
        (("--backend", "all", "--lengths", "9"), 2, "leave one out"),
        (("--backend", "all", "--all"), 2, "leave one out"),
        (("--backend", "all", "--frames", 0), 2, "1 or more"),
        (("--backend", "magic"), 2, "got backend 'magic'"),
        (("--backend", "torch", "--precision", "int3"), 2, "got precision 'int3'"),
        (("--backend", "torch", "--video", "absent.mp4"), 10, "absent.mp4"),
        (("--backend", "torch", "--window", 200), 13, "smaller --window"),
    ],
)
def test_impossible_comparisons_are_refused(co3d, video, arguments, code, fragment):
    given = ("--video", video) if "--window" in arguments else ()
    outcome = co3d("check", "camera_motion", *arguments, *given)
    assert outcome.code == code
    assert fragment in outcome.err
    assert len(outcome.err.splitlines()) == 1
