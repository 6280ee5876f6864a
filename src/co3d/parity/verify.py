"""`verify`: converts a network and compares everything that its steps make with its clips."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from co3d.errors import OptionError, ParityError
from co3d.parity.elements import largest_magnitude, relative_difference
from co3d.parity.lengths import LengthCase, choose_lengths, make_cases
from co3d.parity.observe import ObservedProgram, run_clip
from co3d.parity.outputs import compare_results, compare_steady, run_streams
from co3d.stream.analyse import Analysis, output_nodes
from co3d.stream.capture import ClipShape
from co3d.stream.convert import assemble, check_clip_shapes, check_options, settle_timing
from co3d.stream.prepare import Prepared, prepare
from co3d.stream.program import Rate, Scope, StepProgram

# What rounding may do, as a share of a value's largest magnitude.
TOLERANCES = {"float32": 1e-5, "float64": 1e-9}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ValueCheck:
    """One value of the network: how many of its elements were compared, and the worst of them.

    `difference` is the largest absolute difference over all lengths, as a share of the value's
    largest magnitude.
    """

    name: str
    module_path: str
    operator: str
    elements: int
    difference: float


@dataclass(frozen=True)
class Verification:
    """What a comparison of steps and clips found. All differences are relative.

    Attributes:
        program: the step program that was compared, with edges="both".
        precision: of weights, frames and state.
        tolerance: the largest difference that rounding explains.
        lengths: of the clips, in frames.
        values: every value that the steps make, in the order of the network.
        output_difference: of the results of the finished program (streams of all lengths together
            in one batch, each flushed at its end) from the clip network's.
        steady_difference: between the program's graphs with and without masks, where no mask
            matters.
        model_difference: of the clip network after passes and rewrites from the model as it was
            given; rounding alone, unless `program.approximations` says more.
        notes: lengths that were left out, and why.
    """

    program: StepProgram
    precision: str
    tolerance: float
    lengths: tuple[int, ...]
    values: tuple[ValueCheck, ...]
    output_difference: float
    steady_difference: float
    model_difference: float
    notes: tuple[str, ...]

    @property
    def first_mismatch(self) -> ValueCheck | None:
        """The first value, in the order of the network, that steps get wrong."""
        wrong = (v for v in self.values if not v.difference <= self.tolerance)
        return next(wrong, None)

    @property
    def passed(self) -> bool:
        """Whether steps equal clips in every respect that was compared."""
        return not self._complaints()

    def require(self) -> None:
        """Do nothing if steps equal clips.

        Raises:
            ParityError: they do not; the message names the first value that differs.
        """
        complaints = self._complaints()
        if complaints:
            raise ParityError(
                f"steps of {self.program.name} differ from its clips: {'; '.join(complaints)} "
                f"(expected at most {self.tolerance:g}); this is an error of co3d: report it with "
                "the network"
            )

    def _complaints(self) -> list[str]:
        complaints = []
        first = self.first_mismatch
        if first is not None:
            complaints.append(
                f"first at {first.name} ({first.operator} in {first.module_path or 'the model'}), "
                f"by {first.difference:.2g} of its largest magnitude"
            )
        if not self.output_difference <= self.tolerance:
            complaints.append(f"the finished program's results by {self.output_difference:.2g}")
        if not self.steady_difference <= self.tolerance:
            complaints.append(f"graphs with and without masks by {self.steady_difference:.2g}")
        if not self.program.approximations and not self.model_difference <= self.tolerance:
            complaints.append(
                f"the simplified clip network from the model by {self.model_difference:.2g}"
            )
        return complaints


def verify(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    lengths: Sequence[int] | None = None,
    window: int | None = None,
    rate: Rate = "dense",
    scope: Scope = "frame",
    fallback: bool = False,
    spread: bool = False,
    precision: str = "float64",
    report: Report | None = None,
) -> Verification:
    """Prove, on a network and its weights, that steps equal clips: value by value.

    Runs the clip network and the step program on the same random signed clips, and compares every
    element of every value; then the finished program's results, with a slot per length.

    Args:
        model, clip_shape, window, rate, scope, fallback, spread: as for `convert`.
        lengths: of further clips to compare besides those of `clip_shape`, in frames; by default a
            shorter and a longer odd one, where the network takes them.
        precision: "float64", which leaves rounding no room to hide errors in, or "float32".
        report: called with what is being done, the steps taken and their number.

    Raises:
        ConversionError: the network cannot be converted, or not for one of the `lengths`.
        OptionError: an option out of range.
    """
    shapes = check_clip_shapes(clip_shape)
    check_options(window=window, rate=rate, scope=scope, spread=spread)
    _check_options(lengths, precision)
    # A copy: the model keeps its precision.
    network = copy.deepcopy(model).eval().to(_DTYPES[precision])
    at_length = partial(prepare, network, scope=scope, fallback=fallback)
    prepared = at_length(shapes, window=window)
    analysis = settle_timing(prepared, shapes[0][1], spread=spread)
    program = assemble(type(model).__name__, shapes, rate, "both", prepared, analysis)
    cases, notes = make_cases(
        shapes,
        prepared,
        choose_lengths(shapes[0][1], program.temporal_stride, window, lengths),
        at_length,
        window=window,
        spread=spread,
        must_fit=lengths is not None,
    )
    run = _Run(network, prepared, analysis, program, precision, report or (lambda *_: None))
    for case in cases:
        run.compare_case(shapes, case)
    return Verification(
        program=program,
        precision=precision,
        tolerance=TOLERANCES[precision],
        lengths=tuple(case.frames for case in cases),
        values=run.values(),
        output_difference=run.compare_program(cases),
        steady_difference=compare_steady(program),
        model_difference=run.model_difference,
        notes=tuple(notes),
    )


def _check_options(lengths: Sequence[int] | None, precision: str) -> None:
    if precision not in _DTYPES:
        raise OptionError(
            f"cannot verify: got precision {precision!r}, expected one of {', '.join(_DTYPES)}"
        )
    if lengths is not None and min(lengths, default=1) < 1:
        raise OptionError(
            f"cannot verify: got lengths {list(lengths)}, expected numbers of frames of at least 1"
        )


class _Run:
    """Gathers what the cases of one verification find."""

    def __init__(
        self,
        network: nn.Module,
        prepared: Prepared,
        analysis: Analysis,
        program: StepProgram,
        precision: str,
        report: Report,
    ) -> None:
        self._network, self._prepared = network, prepared
        self._analysis, self._program = analysis, program
        self._precision, self._report = precision, report
        self._found: dict[str, tuple[int, float]] = {}
        self._clips: list[list[Tensor]] = []
        self._outputs: list[dict[str, Tensor]] = []
        self.model_difference = 0.0

    def compare_case(self, shapes: Sequence[ClipShape], case: LengthCase) -> None:
        """Every value on a clip of one length."""
        generator = torch.Generator().manual_seed(case.frames)
        clips = [
            torch.randn(
                (1, shape[0], case.frames, *shape[2:]), generator=generator, dtype=torch.float64
            ).to(_DTYPES[self._precision])
            for shape in shapes
        ]
        observed = ObservedProgram(self._prepared.clip_graph, case.analysis, self._program.rate)
        # Operators with several results are compared by those of them that are read.
        compared = [
            node
            for node in case.analysis.lowerings
            if node.name not in case.left_out and isinstance(node.meta["val"], Tensor)
        ]
        names = {node.name for node in compared}
        what = f"clip of {case.frames} frames"
        steps = observed.count_steps(compared, case.frames)
        count = _Counter(self._report, what, steps)
        with torch.inference_mode():
            values = run_clip(case.clip_graph, clips, names)
            self._compare_model(clips, values, case)
            for node, (elements, difference) in observed.compare(
                clips, values, compared, count
            ).items():
                before, worst = self._found.get(node.name, (0, 0.0))
                self._found[node.name] = (before + elements, max(worst, difference))
        self._clips.append([clip[0] for clip in clips])
        outputs = {node.name for node in output_nodes(self._prepared.clip_graph)}
        self._outputs.append({n: values[n] for n in outputs & names})

    def _compare_model(
        self, clips: Sequence[Tensor], values: dict[str, Tensor], case: LengthCase
    ) -> None:
        expected = tree_leaves(self._network(*clips))
        for node, output in zip(output_nodes(case.clip_graph), expected, strict=True):
            if node.name in values:
                difference = relative_difference(
                    values[node.name], output, largest_magnitude(output)
                )
                self.model_difference = max(self.model_difference, difference)

    def compare_program(self, cases: Sequence[LengthCase]) -> float:
        """The finished program, a slot per length."""
        steps = max(case.frames for case in cases)
        count = _Counter(self._report, "finished program", steps)
        results = run_streams(self._program, self._clips, self._precision, count)
        return max(
            compare_results(results[i], self._analysis, self._outputs_within(i, case), case.frames)
            for i, case in enumerate(cases)
        )

    def _outputs_within(self, i: int, case: LengthCase) -> dict[str, Tensor]:
        """The outputs whose windows, in the finished program, hold the whole clip."""
        windows, longer = self._analysis.windows, case.analysis.windows
        pools = {node.name: type_.pools for node, type_ in self._analysis.types.items()}
        return {
            name: value
            for name, value in self._outputs[i].items()
            if all(longer.get(pool, 1) <= windows.get(pool, 1) for pool in pools[name])
        }

    def values(self) -> tuple[ValueCheck, ...]:
        """Every value, in the order of the network."""
        rows = {row.name: row for row in self._program.rows}
        return tuple(
            ValueCheck(node.name, rows[node.name].module_path, rows[node.name].operator, *found)
            for node in self._prepared.analysis.lowerings
            if (found := self._found.get(node.name))
        )


class _Counter:
    """Counts steps and reports them."""

    def __init__(self, report: Report, what: str, steps: int) -> None:
        self._report, self._what, self._steps = report, what, steps
        self._done = 0

    def __call__(self) -> None:
        self._done += 1
        self._report(self._what, self._done, self._steps)
