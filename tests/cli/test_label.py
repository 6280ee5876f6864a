"""`co3d label`: an archive from the command line."""

import json

import pyarrow.dataset
import pytest
import torch

from co3d import ModelCard, convert, export_program
from support.networks import Classifier, stem
from support.videos import write_video


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 32)
    (tmp_path / "videos" / "none.mp4").write_bytes(b"no video")
    return tmp_path / "videos"


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    card = ModelCard("small", 4, 8.0, 16, 16, (0.45,) * 3, (0.225,) * 3)
    program = convert(Classifier(stem()).eval(), card.clip_shape, edges="both")
    export_program(program, tmp_path / "small.safetensors", format="torch", card=card)
    return tmp_path / "small.safetensors"


def test_an_archive_is_labelled_once(co3d, network, videos, tmp_path):
    output = tmp_path / "labels"
    command = ("label", videos, "--output", output, "--model", network, "--backend", "torch")
    outcome = co3d(*command)
    assert outcome.code == 0, outcome.err
    rows = pyarrow.dataset.dataset(output).to_table().num_rows
    assert outcome.out == f"1 of 2 videos labelled; {rows} rows in {output}\n"
    assert "none.mp4: NotAVideoError" in outcome.err
    outcome = co3d(*command, "--json")
    (said,) = outcome.lines
    assert said == json.loads((output / "_report.json").read_text())
    assert (said["videos"], said["labelled"], said["resumed"], said["rows"]) == (2, 0, 1, rows)
    outcome = co3d(*command, "--rate-hz", 4)
    assert outcome.code == 2
    assert "rate_hz 8.0, now 4.0" in outcome.err
    names = tmp_path / "names.txt"
    names.write_text("walk\nrun\n")
    outcome = co3d(*command, "--labels", names)
    assert outcome.code == 2
    assert "got 2 names, expected one for each of its" in outcome.err
    outcome = co3d(*command, "--window", 2)
    assert outcome.code == 2
    assert "--window 2 for an exported file" in outcome.err
