"""Mutants: small wrongs done to what a rule says, and whether one network's steps show them."""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, fx, nn

from co3d.compiler.analyse import analyse
from co3d.compiler.assemble import assemble
from co3d.compiler.capture import EXPORT_BATCH
from co3d.compiler.options import ConvertOptions
from co3d.compiler.pipeline import prepare, settle_timing
from co3d.compiler.prepared import Prepared
from co3d.compiler.program import Edges, Rate, StepProgram
from co3d.compiler.rules.registry import _RULES, Context, Lowering, Rule, Use
from co3d.errors import ConversionError
from support.rule_networks import LENGTHS, SHAPE
from support.streaming import (
    first_result,
    make_clips,
    randomise_,
    relative_error,
    result_stride,
    run_steps,
)

EXACT = 1e-10
CAUGHT = 1e-3
# How the compiler, or torch in its place, refuses a graph that makes no sense.
_REFUSALS = (AssertionError, ConversionError, IndexError, KeyError, RuntimeError, ValueError)
_ANALYSE = importlib.import_module("co3d.compiler.analyse")
# Rules that no operator has for its own: `analyse` calls them by name.
UNREGISTERED = ("lower_folded", "lower_recomputed")

# "differs": steps differ from the clip. "refused": no program, or one that cannot run. "figure":
# steps are right, and the receptive field that the program states is not.
Verdict = Literal["differs", "refused", "figure", "unnoticed"]
# By how many ticks a mutation moves the readings of a value.
Unit = Callable[[fx.Node], int]
Mutation = Callable[[Lowering, Unit, int], Lowering]


def rules_by_name() -> dict[str, Rule]:
    """Every rule by its name."""
    named = {rule.__name__: rule for rule in _RULES.values()}
    return named | {name: getattr(_ANALYSE, name) for name in UNREGISTERED}


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta["val"], Tensor)


def _move(index: int, by: int) -> Mutation:
    """One of several readings is older or newer than it should be, by a tick or an element."""

    def change(lowering: Lowering, unit: Unit, _: int) -> Lowering:
        uses = list(lowering.uses)
        back = uses[index].back + by * unit(uses[index].node)
        # What comes later cannot be read. A rule's only reading is its last. Several results in
        # one (of a norm) are never remembered.
        is_only = len(uses) == 1 and index == 0
        if back < 0 or is_only or not _is_tensor(uses[index].node):
            return lowering
        uses[index] = replace(uses[index], back=back)
        return replace(lowering, uses=uses)

    return change


def _read(select: Callable[[list[Use]], list[Use]]) -> Mutation:
    """Other readings."""
    return lambda lowering, *_: replace(lowering, uses=select(list(lowering.uses)))


def _fill(fills: dict[float | None, float | None]) -> Mutation:
    """Something else instead of what lies outside the clip."""

    def change(lowering: Lowering, *_: Any) -> Lowering:
        uses = [replace(use, fill=fills.get(use.fill, use.fill)) for use in lowering.uses]
        return replace(lowering, uses=uses)

    return change


def _retype(**by: int) -> Mutation:
    """Another temporal type."""

    def change(lowering: Lowering, _: Unit, own: int) -> Lowering:
        changed = {name: getattr(lowering.type, name) + n * own for name, n in by.items()}
        return replace(lowering, type=replace(lowering.type, **changed))

    return change


def _one_more_element(by: int) -> Mutation:
    def change(lowering: Lowering, *_: Any) -> Lowering:
        return _retype(extent=by)(lowering, lambda _: 1, lowering.type.stride)

    return change


def _longer_window(uses: list[Use]) -> list[Use]:
    distance = uses[0].back - uses[1].back if len(uses) > 1 else 0
    return [replace(uses[0], back=uses[0].back + distance), *uses] if distance > 0 else uses


def _mutate(right: Lowering, mutation: Mutation, unit: Unit, own: int) -> Lowering:
    """What a mutation makes of a lowering, and of each of its variants."""
    mutant = mutation(right, unit, own)
    variants = [mutation(variant, unit, own) for variant in right.interleaved]
    return replace(
        mutant, interleaved=variants, uses=[u for t in variants for u in t.uses] or mutant.uses
    )


_INF = float("inf")
_NAN = float("nan")  # one object, so that it is one key
MUTATIONS: dict[str, Mutation] = {
    "readings in reverse order": _read(lambda uses: uses[::-1]),
    "first reading dropped": _read(lambda uses: uses[1:] or uses),
    "last reading dropped": _read(lambda uses: uses[:-1] or uses),
    "one reading more": _read(_longer_window),
    "first reading too old": _move(0, 1),
    "first reading too new": _move(0, -1),
    "last reading too old": _move(-1, 1),
    "last reading too new": _move(-1, -1),
    "everything read now": _read(lambda uses: [replace(use, back=0) for use in uses]),
    "said to be ready later": _retype(delay=1),
    "said to be ready earlier": _retype(delay=-1),
    "an element more at the end": _one_more_element(1),
    "an element fewer at the end": _one_more_element(-1),
    "said to see a frame more": _retype(lookback=1),
    "said to see a frame fewer": _retype(lookback=-1),
    "another fill": _fill({0.0: 1.0, -_INF: 0.0, _INF: 0.0}),
    "no fill": _fill({0.0: None, -_INF: None, _INF: None}),
}


def fill_with_nan(lowering: Lowering, *_: Any) -> Lowering:
    """What lies outside the clip is no number wherever the rule says that it does not matter."""
    uses = [
        replace(use, fill=_NAN)
        if use.fill is None and _is_tensor(use.node) and use.node.meta["val"].is_floating_point()
        else use
        for use in lowering.uses
    ]
    return replace(lowering, uses=uses)


@dataclass(frozen=True)
class Case:
    """A network that tests a rule alone, and how.

    Attributes:
        make: the network.
        time_axis: of an element's place in the output without its batch; None for a network with
            one result per clip.
        reference: what the steps must equal: the "model" itself, or the clip graph, "sliding", with
            its pools over as many of the newest elements as the training clip had.
        rate, spread: as for `convert`.
        lengths: of the clips, in frames.
        scope, fallback: as for `convert`.
    """

    make: Callable[[], nn.Module]
    time_axis: int | None = None
    reference: Literal["model", "sliding"] = "model"
    rate: Rate = "dense"
    spread: bool = False
    lengths: tuple[int, ...] = LENGTHS
    scope: Literal["frame", "window"] = "frame"
    fallback: bool = False


class Subject:
    """A case whose network has been captured and whose clips' results are known.

    Rules are applied anew whenever it is measured, so that they can be mutated in between.
    """

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.case = case
        self._model = randomise_(case.make()).double()
        self._prepared = self._prepare(SHAPE[1])
        self._clips = make_clips(case.lengths, (SHAPE[0], *SHAPE[2:]), torch.float64)
        with torch.inference_mode():
            self._expected = [self._reference(clip[None])[0] for clip in self._clips]

    def mutate(self, patch: pytest.MonkeyPatch, rule: str, mutation: Mutation) -> list[bool]:
        """Let a rule err; the list that is returned is told for each of its answers if it did."""
        changed: list[bool] = []
        original = rules_by_name()[rule]
        dense = self.case.rate == "dense"

        def wrong(ctx: Context, node: fx.Node) -> Lowering:
            right = original(ctx, node)
            stride = right.variants[0].type.stride
            # In native rate a reading between two elements is refused: move by a whole one.
            mutant = _mutate(
                right,
                mutation,
                lambda operand: 1 if dense else ctx.type_of(operand).stride,
                1 if dense else stride,
            )
            changed.append((mutant.type, list(mutant.uses)) != (right.type, list(right.uses)))
            return mutant

        if rule in UNREGISTERED:
            patch.setattr(_ANALYSE, rule, wrong)
        for target, function in list(_RULES.items()):
            if function is original:
                patch.setitem(_RULES, target, wrong)
        return changed

    def build(self, edges: Edges, rate: Rate | None = None) -> StepProgram:
        """The step program by the rules as they are now."""
        settled = settle_timing(self._analyse())
        # Settled already, so that no stage spreads it again.
        rate = rate or self.case.rate
        options = replace(settled.options, edges=edges, rate=rate, spread=False)
        return assemble(replace(settled, options=options))

    def error(self) -> float:
        """Largest relative error of steps and flush; infinite where results are too many or few."""
        return self._error(self.build("both"), list(range(len(self._clips))))

    def _error(self, program: StepProgram, numbers: list[int]) -> float:
        """The same on some of the clips, each in a slot of its own."""
        errors = []
        slots = run_steps(program, [self._clips[i] for i in numbers])
        for outputs, expected in zip(slots, [self._expected[i] for i in numbers], strict=True):
            axis = self.case.time_axis
            elements = outputs[first_result(program) :: result_stride(program)]
            if axis is not None and len(elements) != expected.shape[axis]:
                return float("inf")
            actual = outputs[-1] if axis is None else torch.stack(elements, axis)
            assert actual.shape == expected.shape
            errors.append(relative_error(actual, expected))
        # A maximum would pass over what is not a number.
        return float("inf") if any(math.isnan(error) for error in errors) else max(errors)

    def states_its_receptive_field(self) -> bool:
        """Whether the newest result depends on as many frames as the program says, and no more."""
        enlarges = bool(self._prepared.analysis.enlarging)
        program = self.build("none", "native" if enlarges else "dense")
        stated, oldest = program.receptive_field, 0
        first = 8 if stated is None else stated + 4
        seen = []
        # Where time is enlarged, elements see unequally far, in turn.
        for frames in range(first, first + len(program.phases)):
            (clip,) = make_clips([frames], program.frame_shape, torch.float64)
            oldest = _find_oldest(program, clip)
            seen.append(frames - oldest)
        return oldest == 0 if stated is None else max(seen) == stated

    def judge(self, rule: str, mutation: Mutation) -> Verdict | None:
        """What a mutation of a rule leads to; None where it changes nothing that the rule says."""
        with pytest.MonkeyPatch.context() as patch:
            changed = self.mutate(patch, rule, mutation)
            try:
                self._analyse()
            except _REFUSALS:
                return "refused"
            return self.verdict() if any(changed) else None

    def verdict(self) -> Verdict:
        """Whether the rules as they are now are found to be wrong, and by what."""
        try:
            program = self.build("both")
            # Most wrongs show on the shortest clip, which takes half the steps.
            lengths = self.case.lengths
            if self._error(program, [lengths.index(min(lengths))]) > CAUGHT:
                return "differs"
            error = self._error(program, list(range(len(lengths))))
            if error > CAUGHT:
                return "differs"
            is_stated = self.states_its_receptive_field()
        except _REFUSALS:
            return "refused"
        assert error <= EXACT, f"a difference of {error:.1e}: neither right nor wrong"
        return "unnoticed" if is_stated else "figure"

    def _analyse(self) -> Prepared:
        known = self._prepared
        analysis = analyse(known.clip_graph, SHAPE[1], EXPORT_BATCH, known.analysis.windows)
        assert not analysis.problems
        return replace(known, analysis=analysis)

    def _prepare(self, frames: int) -> Prepared:
        shape = (SHAPE[0], frames, *SHAPE[2:])
        case = self.case
        options = ConvertOptions(
            rate=case.rate, scope=case.scope, fallback=case.fallback, spread=case.spread
        )
        return prepare(self._model, [shape], options)

    def _reference(self, clip: Tensor) -> Tensor:
        if self.case.reference == "model":
            return self._model(clip)
        # What a fallback reruns, and a gate's window, have the training clip's length.
        fixed = self.case.fallback or self.case.scope == "window"
        return self._slide(self._prepared if fixed else self._prepare(clip.shape[2]), clip)

    def _slide(self, prepared: Prepared, clip: Tensor) -> Tensor:
        windows = self._prepared.analysis.windows
        assert windows.keys() == prepared.analysis.windows.keys()
        return _Sliding(prepared, windows).run(clip)


def _find_oldest(program: StepProgram, clip: Tensor) -> int:
    """The oldest frame of a clip that its newest result depends on.

    One stream per frame, in which that frame is another; a few at a time, from the oldest on.
    """
    frames = range(clip.shape[1])
    for start in range(0, len(frames), 6):
        some = frames[start : start + 6]
        clips = [clip, *(_brighten(clip, index) for index in some)]
        plain, *others = (outputs[-1] for outputs in run_steps(program, clips))
        for index, other in zip(some, others, strict=True):
            if not torch.equal(other, plain):
                return index
    raise LookupError("the newest result depends on no frame")


class _Sliding(fx.Interpreter):
    """A clip graph whose global pools see the newest elements only."""

    def __init__(self, prepared: Prepared, windows: dict[str, int]) -> None:
        super().__init__(prepared.clip_graph)
        self._types, self._windows = prepared.analysis.types, windows

    def run_node(self, n: fx.Node) -> Any:
        if n.name not in self._windows:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        source: Any = n.args[0]
        axis, size = self._types[source].axis, self._windows[n.name]
        assert axis is not None
        kept = min(size, args[0].shape[axis])
        newest = args[0].narrow(axis, args[0].shape[axis] - kept, kept)
        return self.call_function(n.target, (newest, *args[1:]), kwargs)  # type: ignore[arg-type]


def _brighten(clip: Tensor, index: int) -> Tensor:
    other = clip.clone()
    other[:, index] *= 10
    return other
