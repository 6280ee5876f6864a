"""The test of a family: its steps equal its clips, or differ as the registry says."""

from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.compiler.program import Rate
from support.streaming import relative_error
from zoo.family import Family
from zoo.streams import make_clips, make_network, run_clip, run_stream, worst_error

TOLERANCE = 1e-10


def check_family(family: Family) -> None:
    """Dense, and native where it has strides, on ragged slots where it takes several lengths."""
    model = make_network(family)
    program = convert_family(family, model)
    _check_report(program, family)
    reference = program.clip_graph if program.approximations else model
    lengths = [family.frames] if family.shorter is None else [family.frames, family.shorter]
    videos = [make_clips(family, n) for n in lengths]
    expected = [run_clip(reference, video) for video in videos]
    _check_dependence(reference, family, expected[0])
    programs = [program]
    if program.temporal_stride > 1 and not family.native_only:
        programs.append(convert_family(family, model, native=True))
    for program in programs:
        for results, wanted in zip(run_stream(program, videos), expected, strict=True):
            assert worst_error(program, family, results, wanted) <= TOLERANCE


def check_windowed(family: Family) -> None:
    """With scope="window", dense and native: equal to the clip network after its rewrites."""
    model = make_network(family)
    videos = [make_clips(family, family.frames)]
    for rate in ("dense", "native") if family.stride > 1 else ("dense",):
        program = convert(model, family.clip, edges="both", rate=rate, scope="window")
        assert program.approximations
        assert all(family.windowed in line for line in program.approximations)
        expected = run_clip(program.clip_graph, videos[0])
        _check_dependence(program.clip_graph, family, expected)
        (results,) = run_stream(program, videos)
        assert worst_error(program, family, results, expected) <= TOLERANCE


def convert_family(family: Family, model: nn.Module, *, native: bool = False) -> StepProgram:
    """One of the family as a step program; what the registry says it needs is asked for."""
    rate: Rate = "native" if native or family.native_only else "dense"
    fallback = family.kind == "fallback"
    return convert(model, family.clip, edges="both", rate=rate, fallback=fallback)


def _check_report(program: StepProgram, family: Family) -> None:
    """The program says what the registry says, and no more."""
    assert program.temporal_stride == family.stride
    for line in program.approximations:
        assert any(part in line for part in family.approximations), line
    for part in family.approximations:
        assert any(part in line for line in program.approximations), part
    assert bool(program.fallbacks) == (family.kind == "fallback"), program.fallbacks
    if program.fallbacks:
        assert any(family.because in line for line in program.fallbacks)


def _check_dependence(reference: nn.Module, family: Family, outputs: list[Tensor]) -> None:
    """Another clip gives another result: equality would prove nothing otherwise."""
    others = run_clip(reference, make_clips(family, family.frames, seed=2))
    for output, other in zip(outputs, others, strict=True):
        assert relative_error(output, other) > 1e-3
