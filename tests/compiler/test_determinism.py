"""A conversion depends on the model and the options alone, not on the process."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from co3d.compiler import StepProgram, convert
from support.networks import small_network
from support.rule_networks import FRAMEWISE, SHAPE, two_pathways


def x3d() -> StepProgram:
    torch.manual_seed(0)
    return convert(small_network(), SHAPE, edges="both")


def x3d_with_windows() -> StepProgram:
    torch.manual_seed(0)
    return convert(small_network(), SHAPE, scope="window")


def slowfast() -> StepProgram:
    torch.manual_seed(0)
    return convert(two_pathways(), SHAPE, rate="native", edges="both")


def spread_strides() -> StepProgram:
    torch.manual_seed(0)
    return convert(FRAMEWISE["temporal stride"](), SHAPE, rate="native", spread=True)


def rerun() -> StepProgram:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 8 * 36, 5))
    return convert(model, SHAPE, fallback=True)


PROGRAMS: dict[str, Callable[[], StepProgram]] = {
    make.__name__: make for make in (x3d, x3d_with_windows, slowfast, spread_strides, rerun)
}


@cache
def _first(name: str) -> StepProgram:
    return PROGRAMS[name]()


def _graphs(program: StepProgram) -> list[fx.GraphModule]:
    graphs = [g for phase in program.phases for g in (phase.steady, phase.masked)]
    return [graph for graph in graphs if graph is not None]


@pytest.mark.parametrize("name", PROGRAMS)
def test_converting_twice_gives_equal_programs(name: str) -> None:
    first, second = _first(name), PROGRAMS[name]()
    assert [g.code for g in _graphs(first)] == [g.code for g in _graphs(second)]
    assert first.rows == second.rows
    assert first.states == second.states
    assert first.approximations == second.approximations
    assert first.fallbacks == second.fallbacks
    assert first.explain() == second.explain()
    assert first.fingerprint == second.fingerprint


_PRINT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("determinism", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for name, make in module.PROGRAMS.items():
    print(name, make().fingerprint)
"""


def test_another_process_makes_the_same_programs() -> None:
    """With another hash seed, which changes the order of sets."""
    seeds = {"1", "2"} - {os.environ.get("PYTHONHASHSEED")}
    tests = str(Path(__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", _PRINT, __file__],
        env={**os.environ, "PYTHONHASHSEED": min(seeds), "PYTHONPATH": tests},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {name: _first(name).fingerprint for name in PROGRAMS}
    assert dict(line.split() for line in run.stdout.splitlines()) == expected
