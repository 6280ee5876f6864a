"""`co3d reproduce cox3d`: its rows, on a data set of two videos and without any."""

import json

import pytest

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.evaluation.paper_table import Figures, Row, format_rows, read_paper
from co3d.models.labels import read_labels
from support.miniature import film_motion, write_mp4

# The smallest network; a step of it is the same whatever the window.
SMALL = ("--model", "x3d_s", "--backend", "torch", "--steps", 1, "--json")
MACS, PARAMETERS = 152_711_312, 3_794_322


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    """Two videos of the 400 classes; at 5 frames/s one of them is shorter than the network."""
    folder = tmp_path_factory.mktemp("kinetics")
    entries = []
    for label, frames in ((7, 20), (300, 160)):
        name = f"{label:011d}_000000_000010"
        write_mp4(folder / f"{name}.mp4", film_motion(1, frames, label))
        entries.append(VideoEntry(name, f"{name}.mp4", (label,), split="val"))
    path = folder / "val.jsonl"
    Manifest(folder, read_labels("kinetics400"), tuple(entries)).save(path)
    return path


def test_costs_need_no_data(co3d):
    outcome = co3d("reproduce", "cox3d", *SMALL)
    assert outcome.code == 0, outcome.err
    (found,) = outcome.lines
    assert [(row["model"], row["window"]) for row in found["rows"]] == [
        ("x3d_s", 13),
        ("x3d_s", 64),
    ]
    for row in found["rows"]:
        ours = row["ours"]
        assert (ours["macs"], ours["parameters"], ours["top1"]) == (MACS, PARAMETERS, None)
        assert ours["frames_per_second"] > 0
        assert row["differences"] == []
    short, long = (row["ours"]["memory_bytes"] for row in found["rows"])
    assert long - short == 51 * 432 * 4  # the pool remembers so many more features
    assert found["rows"][1]["paper"]["top1"] == pytest.approx(0.6733)
    assert found["hardware"]


@pytest.mark.slow
def test_accuracies_are_those_of_the_protocol(co3d, kinetics, tmp_path):
    arguments = ("--data", kinetics, "--weights", "random", "--output", tmp_path)
    outcome = co3d("reproduce", "cox3d", *SMALL, *arguments)
    assert outcome.code == 0, outcome.err
    (found,) = outcome.lines
    for row, init in zip(found["rows"], (40, 91), strict=True):
        folder = tmp_path / f"x3d_s_{row['window']}"
        summary = json.loads((folder / "summary.json").read_text())
        settings = summary["settings"]
        assert (settings["protocol"], settings["init"]) == ("paper", init)
        assert row["ours"]["top1"] == summary["measures"]["warm"]["top1"]
    assert found["rows"][1]["differences"] == ["weights of other origin"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "x3d_xs"), "the table has x3d_s, x3d_m, x3d_l"),
        (("--limit", "0"), "--limit 0: expected at least 1"),
        (("--steps", "0"), "--steps 0: expected at least 1"),
    ],
)
def test_impossible_options_are_refused(co3d, options, message):
    outcome = co3d("reproduce", "cox3d", *options)
    assert outcome.code == 2
    assert message in outcome.err


def test_the_table_leaves_cells_empty_and_names_differences():
    ours = Figures(top1=0.5, macs=MACS, parameters=PARAMETERS, memory_bytes=1e7)
    paper = read_paper("x3d_s", 64)
    lines = list(format_rows([Row("x3d_s", 64, ours, paper, "torch", ("split none",))]))
    (row,) = (line for line in lines if line.startswith("| CoX3D-S"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        *("CoX3D-S", "64", "50.00", "67.33", "0.153", "0.170", "3.79", "3.79", "10.00", "41.99"),
        *("", ""),
    ]
    assert lines[-1] == "- x3d_s, window 64: split none."
