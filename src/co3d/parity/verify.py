"""`verify`: converts a network and compares all values of its steps with those of its clips."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from co3d.arguments import check_arguments
from co3d.backends.threads import limit_threads
from co3d.compiler.analyse import Analysis, output_nodes
from co3d.compiler.assemble import assemble
from co3d.compiler.capture import EXPORT_BATCH, ClipShape
from co3d.compiler.options import ConvertOptions, check_clip_shapes
from co3d.compiler.pipeline import prepare, settle_timing
from co3d.compiler.prepared import Prepared
from co3d.compiler.program import Rate, Scope, StepProgram
from co3d.errors import ConversionError, OptionError
from co3d.parity.dependence import compare_two_clips, compare_two_streams, run_network
from co3d.parity.double import copy_in_double, doubles_by_default
from co3d.parity.elements import largest_magnitude
from co3d.parity.findings import ValueCheck, Verification
from co3d.parity.lengths import LengthCase, choose_lengths, make_cases
from co3d.parity.observe import ObservedProgram, run_clip
from co3d.parity.outputs import compare_edges, compare_results, run_streams
from co3d.parity.simplified import compare_outputs, compare_simplified, random_clips
from co3d.runtime.threads import choose_threads

# The largest error that rounding explains, relative to a value's largest magnitude.
TOLERANCES = {"float32": 1e-5, "float64": 1e-9}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_NAMED = 3

ProgressCallback = Callable[[str, int, int], None]


@check_arguments()
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
    report: ProgressCallback | None = None,
) -> Verification:
    """Verify on a network and its weights that steps equal clips, value by value.

    It runs the clip network and the step program on the same random signed clips, and compares
    every element of every value. Then it compares the final program's results, its graphs for
    different edges, and the simplified clip network with the model.

    Args:
        model, clip_shape, window, rate, scope, fallback, spread: as for `convert`.
        lengths: further clip lengths to compare, in frames; by default a shorter and a longer odd
            one, if the network takes them.
        precision: "float64", in which rounding cannot hide errors, or "float32".
        report: called with the name of the stage, the steps done and their total.

    Raises:
        ConversionError: the network cannot be converted, or not for one of the `lengths`.
        OptionError: an option out of range.
    """
    shapes = check_clip_shapes(clip_shape)
    options = ConvertOptions(window, rate, scope, "both", fallback, spread)
    _check_options(lengths, precision)
    network, casts = _copy(model, shapes, precision)
    with doubles_by_default(wanted=casts):
        prepared = prepare(network, shapes, options)
        settled = settle_timing(prepared)
        program = assemble(settled)
        live = assemble(replace(settled, options=replace(settled.options, edges="start")))
        cases, notes = make_cases(
            prepared,
            choose_lengths(shapes[0][1], _find_pace(settled.analysis), window, lengths),
            lambda shapes: prepare(network, shapes, replace(options, window=None)),
            must_fit=lengths is not None,
        )
        run = _Comparison(network, settled, program, precision, report or (lambda *_: None))
        with limit_threads(choose_threads(program)):
            for case in cases:
                run.compare_case(shapes, case)
            output_difference = run.compare_program(cases)
            edges_difference = compare_edges(program, live, _DTYPES[precision])
            simplified_difference = run.model_difference
            if program.approximations and settled.batch == EXPORT_BATCH:
                simplified_difference = compare_simplified(
                    network, shapes, _DTYPES[precision], fallback=fallback
                )
            dependence = compare_two_clips(network, shapes, _DTYPES[precision])
            step_dependence = dependence
            # Without approximations, steps depend on clips as the network does if they are equal.
            if program.approximations or output_difference is None:
                step_dependence = compare_two_streams(program, shapes, _DTYPES[precision])
    if casts:
        notes.append(
            "its forward makes values of single precision, which are of double precision here"
        )
    return Verification(
        program=program,
        precision=precision,
        tolerance=TOLERANCES[precision],
        lengths=tuple(case.frames for case in cases),
        values=run.values(),
        output_difference=output_difference,
        edges_difference=edges_difference,
        simplified_difference=simplified_difference,
        model_difference=run.model_difference,
        dependence=tuple(zip(dependence, step_dependence, strict=True)),
        notes=(*notes, *run.notes()),
    )


def _find_pace(analysis: Analysis) -> int:
    """The number of frames that clip lengths must be multiples of."""
    return analysis.period if analysis.enlarging else analysis.timing.stride


def _copy(model: nn.Module, shapes: Sequence[ClipShape], precision: str) -> tuple[nn.Module, bool]:
    """A copy of the model in this precision, and whether its forward casts to lower ones."""
    try:
        if precision == "float64":
            return copy_in_double(model, shapes)
        return copy.deepcopy(model).eval().to("cpu", _DTYPES[precision]), False
    except RuntimeError as error:  # such as weights that are computed from others
        raise ConversionError(
            f"cannot verify {type(model).__name__}: it cannot be copied ({error}); remove weight "
            "norms and other computed weights first"
        ) from error


def _check_options(lengths: Sequence[int] | None, precision: str) -> None:
    if precision not in _DTYPES:
        raise OptionError(
            f"cannot verify: got precision {precision!r}, expected one of {', '.join(_DTYPES)}"
        )
    if lengths is not None and min(lengths, default=1) < 1:
        raise OptionError(
            f"cannot verify: got lengths {list(lengths)}, expected numbers of frames of at least 1"
        )


class _Comparison:
    """Runs the comparisons of one verification, and collects their results."""

    def __init__(
        self,
        network: nn.Module,
        prepared: Prepared,
        program: StepProgram,
        precision: str,
        report: ProgressCallback,
    ) -> None:
        self._network, self._prepared = network, prepared
        self._analysis, self._program = prepared.analysis, program
        self._precision, self._report = precision, report
        self._found: dict[str, tuple[int, float]] = {}
        self._clips: list[list[Tensor]] = []
        self._outputs: list[dict[str, Tensor]] = []
        self._undefined: set[str] = set()
        self._never_zero: set[str] = set()
        self.model_difference = 0.0

    def compare_case(self, shapes: Sequence[ClipShape], case: LengthCase) -> None:
        """Compare every value on a clip of one length."""
        clips = random_clips(shapes, case.frames, _DTYPES[self._precision])
        observed = ObservedProgram(self._prepared.clip_graph, case.analysis, self._program.rate)
        # Operators with several results are compared by their getitem nodes.
        compared = [
            node
            for node in case.analysis.lowerings
            if node.name not in case.left_out and isinstance(node.meta["val"], Tensor)
        ]
        names = {node.name for node in compared}
        outputs = [node.name for node in output_nodes(case.clip_graph)]
        what = f"clip of {case.frames} frames"
        steps = observed.count_steps(compared, case.frames)
        count = _Counter(self._report, what, steps)
        with torch.inference_mode():
            values = run_clip(case.clip_graph, clips, names.union(outputs))
            difference = compare_outputs(
                [values[name] for name in outputs], run_network(self._network, clips)
            )
            self.model_difference = max(self.model_difference, difference)
            for node, (elements, difference) in observed.compare(
                clips, values, compared, count
            ).items():
                before, worst = self._found.get(node.name, (0, 0.0))
                self._found[node.name] = (before + elements, max(worst, difference))
                self._note_values(node.name, values[node.name])
        self._clips.append([clip[0] for clip in clips])
        self._outputs.append({name: values[name] for name in names.intersection(outputs)})

    def compare_program(self, cases: Sequence[LengthCase]) -> float | None:
        """Compare the final program, with a slot per length; None if no output can be compared."""
        steps = max(case.frames for case in cases)
        count = _Counter(self._report, "finished program", steps)
        results = run_streams(self._program, self._clips, self._precision, count)
        outputs = [self._outputs_within(i, case) for i, case in enumerate(cases)]
        return max(
            (
                compare_results(results[i], self._analysis, outputs[i], case.frames)
                for i, case in enumerate(cases)
                if outputs[i]
            ),
            default=None,
        )

    def _outputs_within(self, i: int, case: LengthCase) -> dict[str, Tensor]:
        """The outputs whose windows in the final program cover the whole clip."""
        windows, longer = self._analysis.windows, case.analysis.windows
        pools = {node.name: type_.pools for node, type_ in self._analysis.types.items()}
        return {
            name: value
            for name, value in self._outputs[i].items()
            if all(longer.get(pool, 1) <= windows.get(pool, 1) for pool in pools[name])
        }

    def _note_values(self, name: str, value: Tensor) -> None:
        if value.isnan().any():
            self._undefined.add(name)
        if not value.is_floating_point() or largest_magnitude(value):
            self._never_zero.add(name)

    def notes(self) -> list[str]:
        """Notes on values whose equality proves little, and on values that were not compared."""
        found = [value.name for value in self.values()]
        zero = [n for n in found if n not in self._never_zero | self._undefined]
        absent = [
            node.name
            for node in self._prepared.analysis.lowerings
            if node.name not in self._found and isinstance(node.meta["val"], Tensor)
        ]
        undefined = [n for n in found if n in self._undefined]
        return [
            f"{len(names)} value{'s' * (len(names) > 1)} {text}: {self._name(names)}"
            for names, text in (
                (
                    zero,
                    "zero on all of these clips, so that equality proves little (norms start "
                    "that way; give trained weights)",
                ),
                (undefined, "NaN somewhere on these clips, and compared elsewhere only"),
                (absent, "not compared, as all of these clips are longer than the window"),
            )
            if names
        ]

    def _name(self, names: Sequence[str]) -> str:
        paths = {row.name: row.module_path for row in self._program.rows}
        shown = [f"{n} ({paths[n]})" if paths[n] else n for n in names[:_NAMED]]
        more = len(names) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

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

    def __init__(self, report: ProgressCallback, what: str, steps: int) -> None:
        self._report, self._what, self._steps = report, what, steps
        self._done = 0

    def __call__(self) -> None:
        self._done += 1
        self._report(self._what, self._done, self._steps)
