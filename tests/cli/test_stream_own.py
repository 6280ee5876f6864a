"""`co3d stream` with a network that a file of the user's builds."""

from pathlib import Path

import pytest

NETWORK = """
import co3d
import torch
from torch import nn


def build():
    print("building")
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, (3, 3, 3), padding=1, stride=(1, 4, 4)),
        nn.Dropout(0.9),  # which does nothing: the network is converted in evaluation mode
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def with_card():
    network = build()
    network.card = co3d.ModelCard("mine", 4, 8.0, 32, 40, [0.4] * 3, [0.2] * 3, labels=["a", "b"])
    return network


def with_wrong_card():
    network = build()
    network.card = co3d.ModelCard("mine", 4, 8.0, 32, 40, [0.4] * 3, [0.2] * 3, labels=["a"])
    return network
"""
RATE = ("--rate-hz", 8)
CLIP = ("--clip", "3,4,32,32")


@pytest.fixture
def build(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "labels.txt").write_text("left\nright\n")
    return f"{tmp_path}/net.py:"


def test_options_describe_it(co3d, tmp_path, video, build):
    options = (*CLIP, *RATE, "--labels", tmp_path / "labels.txt", "--json")
    outcome = co3d("stream", video, "--model", build + "build", *options)
    assert outcome.code == 0, outcome.err
    assert {top["label"] for line in outcome.lines for top in line["top"]} == {"left", "right"}
    times = [line["pts_seconds"] for line in outcome.lines]
    assert times[1] - times[0] == pytest.approx(1 / 8, abs=0.05)
    assert "building" in outcome.err  # and not among the lines of JSON
    assert "is shown pixels from 0 to 1: --mean and --std were not given" in outcome.err
    quiet = co3d(
        *("stream", video, "--model", build + "build", *options),
        *("--mean", "0,0,0", "--std", "1,1,1"),
    )
    assert "is shown pixels" not in quiet.err
    assert [line["top"] for line in quiet.lines] == [line["top"] for line in outcome.lines]


def test_its_card_describes_it(co3d, video, build):
    outcome = co3d("stream", video, "--model", build + "with_card", "--json")
    assert outcome.code == 0, outcome.err
    assert {top["label"] for line in outcome.lines for top in line["top"]} == {"a", "b"}
    assert co3d("check", build + "with_card").code == 0  # --clip follows from it


def test_several_sources(co3d, video, build, tmp_path):
    other = tmp_path / "other.mp4"
    other.symlink_to(video)
    outcome = co3d("stream", video, other, "--model", build + "with_card", "--json")
    assert outcome.code == 0, outcome.err
    assert {line["camera"] for line in outcome.lines} == {str(video), str(other)}


def test_an_absent_source_is_found_before_the_file_is_run(co3d, tmp_path, build):
    outcome = co3d("stream", "absent.mp4", "--model", build + "with_card")
    assert outcome.code == 10
    assert outcome.err == "error: cannot open absent.mp4: no such file; check the path\n"


@pytest.mark.parametrize(
    ("factory", "options", "said"),
    [
        ("build", (), "give --clip C,T,H,W"),
        ("build", CLIP, "give --rate-hz, --mean and --std, or set its attribute `card`"),
        ("build", (*CLIP, "--mean", "0,0,0"), "give --rate-hz"),
        ("build", ("--clip", "3,4,32,48", *RATE), "expected one input (3, T, S, S)"),
        ("build", (*CLIP, *RATE, "--std", "0,1,1"), "--std 0,1,1, expected above 0"),
        ("build", (*CLIP, "--rate-hz", "-1"), "--rate-hz -1.0, expected above 0"),
        ("with_card", ("--clip", "3,8,32,32"), "its card says 3,4,32,32"),
        ("with_wrong_card", (), "its card has 1 labels for 2 outputs"),
    ],
)
def test_missing_options_are_named(co3d, video, build, factory, options, said):
    outcome = co3d("stream", video, "--model", build + factory, *options)
    assert outcome.code == 2
    assert said in outcome.err.splitlines()[-1]


def test_registered_networks_take_only_labels(co3d, video, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"motion {index}" for index in range(9)))
    outcome = co3d("stream", video, "--labels", names, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.lines[0]["top"][0]["label"].startswith("motion ")
    assert co3d("stream", video, "--mean", "0,0,0").code == 2
    names.write_text("one\n")
    outcome = co3d("stream", video, "--labels", names)
    assert (outcome.code, "its card has 1 labels for 9 outputs" in outcome.err) == (2, True)
