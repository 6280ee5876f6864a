"""Every family of the zoo: its steps equal its clips, or differ as the registry says."""

import pytest
import torch

from co3d.compiler import StepProgram, convert
from co3d.compiler.program import Rate
from support.streaming import relative_error
from zoo.registry import FAMILIES, Family
from zoo.streams import make_clips, make_network, run_clip, run_stream, worst_error

TOLERANCE = 1e-10
CASES = [pytest.param(family, id=family.name) for family in FAMILIES]


@pytest.mark.parametrize("family", CASES)
def test_steps_equal_clips(family: Family) -> None:
    model = make_network(family)
    program = convert(model, family.clip, edges="both", fallback=family.kind == "fallback")
    _check_report(program, family)
    reference = program.clip_graph if program.approximations else model
    lengths = [family.frames] if family.shorter is None else [family.frames, family.shorter]
    videos = [make_clips(family, n) for n in lengths]
    expected = [run_clip(reference, video) for video in videos]
    _check_dependence(reference, family, expected[0])
    rates: list[Rate] = ["dense", "native"] if program.temporal_stride > 1 else ["dense"]
    for rate in rates:
        if rate == "native":
            program = convert(
                model, family.clip, edges="both", rate="native", fallback=family.kind == "fallback"
            )
        for results, wanted in zip(run_stream(program, videos), expected, strict=True):
            assert worst_error(program, family, results, wanted) <= TOLERANCE


def _check_report(program: StepProgram, family: Family) -> None:
    """The program says what the registry says, and no more."""
    for line in program.approximations:
        assert any(part in line for part in family.approximations), line
    for part in family.approximations:
        assert any(part in line for line in program.approximations), part
    assert bool(program.fallbacks) == (family.kind == "fallback"), program.fallbacks
    if program.fallbacks:
        assert any(family.because in line for line in program.fallbacks)


def _check_dependence(reference: torch.nn.Module, family: Family, outputs: list) -> None:
    """Another clip gives another result: equality would prove nothing otherwise."""
    others = run_clip(reference, make_clips(family, family.frames, seed=2))
    for output, other in zip(outputs, others, strict=True):
        assert relative_error(output, other) > 1e-3


def test_names_are_unique_and_families_many() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert len(names) >= 60
