"""The picture of a network in time: its rows are right, and it is written whole or not at all."""

from pathlib import Path

import pytest
import torch
from torch import nn

from co3d.errors import OptionError, OutputError
from co3d.report.network_picture import draw_network, find_levels
from co3d.stream import StepProgram, convert
from support.networks import Apply, Classifier, Residual, stem
from support.rule_networks import SHAPE, two_pathways


@pytest.fixture(scope="module")
def program() -> StepProgram:
    return convert(Classifier(stem(), nn.ReLU(), Residual()), SHAPE)


def test_rows_are_values_that_look_along_time(program: StepProgram) -> None:
    levels = find_levels(program.rows)
    assert [level.row.operator.split(".")[0] for level in levels] == [
        "input",
        "conv3d",
        "conv3d",
        "add",
        "mean",
    ]
    readings = [[(r.level, r.backs) for r in level.readings] for level in levels]
    assert readings[0] == []
    assert readings[1] == [(0, (0, 1, 2))]
    assert readings[2] == [(1, (0, 1, 2))]
    # The shortcut waits one frame for the branch, which is made now.
    assert sorted(readings[3]) == [(1, (1,)), (2, (0,))]
    assert readings[4] == [(3, tuple(range(8)))]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_it_is_written_in_the_format_of_its_name(
    program: StepProgram, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"network.{suffix}"
    draw_network(program, path)
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("options", [{}, {"rate": "native"}, {"rate": "native", "spread": True}])
def test_networks_of_several_rates_are_drawn(options: dict, tmp_path: Path) -> None:
    draw_network(convert(two_pathways(), SHAPE, **options), tmp_path / "network.svg")


def test_values_that_are_not_looked_along_time_need_no_row(tmp_path: Path) -> None:
    program = convert(Apply(lambda m, x: x.relu() * 2), SHAPE)
    assert [level.row.name for level in find_levels(program.rows)] == ["x"]
    draw_network(program, tmp_path / "network.svg")


def test_another_suffix_is_refused(program: StepProgram, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends in \.svg, \.png, \.pdf"):
        draw_network(program, tmp_path / "network.gif")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(program: StepProgram, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        draw_network(program, tmp_path / "absent" / "network.svg")


def test_pictures_do_not_change_from_run_to_run(program: StepProgram, tmp_path: Path) -> None:
    torch.manual_seed(1)
    for name in ("a.png", "b.png"):
        draw_network(program, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
