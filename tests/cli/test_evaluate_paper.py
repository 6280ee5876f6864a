"""`co3d eval --protocol paper` on a miniature: what it settles, writes and refuses."""

import json

import pytest

from support.evaluations import evaluate
from support.miniature import make_charades, make_kinetics

pytestmark = pytest.mark.usefixtures("no_pictures")

PAPER = ("--protocol", "paper", "--backend", "torch")


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    kinds = ("valid", "short", "broken")
    return make_kinetics(
        tmp_path_factory.mktemp("kinetics"), classes=("pan left", "zoom in"), kinds=kinds
    )


def test_the_protocol_fixes_fill_and_initialisation(co3d, kinetics, tmp_path):
    summary = evaluate(co3d, kinetics, tmp_path, *PAPER)
    settings = summary["settings"]
    found = [settings[name] for name in ("mode", "protocol", "fill", "init", "full_frames")]
    assert found == ["stream", "paper", "replicate", 11, 11]
    assert summary["videos"]["judged"] == len(kinetics.readable)
    assert summary["videos"]["ended_before_network_was_full"] == 0  # the short ones are repeated
    assert summary["measures"]["warm"] == summary["measures"]["last"]
    assert "protocol | paper" in (tmp_path / "report.md").read_text()
    again = co3d(
        "eval", "--data", kinetics.root, "--output", tmp_path, "--mode", "stream", "--fill",
        "replicate", "--backend", "torch",
    )  # fmt: skip
    assert again.code != 0
    assert "protocol 'paper', now None" in again.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--mode clip, --mode stream or --protocol paper"),
        ((*PAPER, "--mode", "clip"), "it is for streams"),
        ((*PAPER, "--fill", "zeros"), "with --fill: the protocol fixes it"),
        ((*PAPER, "--init", "3"), "with --init: the protocol fixes it"),
        ((*PAPER, "--rate-hz", "3"), "with --rate-hz: the protocol fixes it"),
        ((*PAPER, "--views", "1x1"), "--views: it belongs to clips"),
    ],
)
def test_options_that_contradict_the_protocol_are_refused(
    co3d, kinetics, tmp_path, options, message
):
    outcome = co3d("eval", "--data", kinetics.root, "--output", tmp_path / "new", *options)
    assert outcome.code != 0
    assert message in outcome.err
    assert not (tmp_path / "new").exists()


def test_several_classes_a_video_are_refused(co3d, tmp_path):
    charades = make_charades(tmp_path / "charades", videos=1)
    outcome = co3d("eval", "--data", charades.root, "--output", tmp_path / "new", *PAPER)
    assert outcome.code != 0
    assert "expected one, as Kinetics has" in outcome.err


def test_mode_stream_may_be_given_with_the_protocol(co3d, kinetics, tmp_path):
    outcome = co3d(
        "eval", "--data", kinetics.root, "--output", tmp_path, *PAPER, "--mode", "stream",
        "--limit", 6, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["settings"]["protocol"] == "paper"
