"""Mutation tests: every wrong change of a rule is caught by a network that tests this rule alone.

A parity test that a wrong rule passes proves nothing. If a mutation does not change the steps of a
network, no test can catch it, and a table has the reason. A mutation that is not caught and has no
reason is a hole in the tests; one that is caught despite its reason shows that the reason is wrong.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
from torch import fx

from co3d.compiler import emit, states
from co3d.compiler.emit import StepBuilder
from co3d.compiler.rules import Lowering
from support.mutated_networks import (
    attention,
    gate,
    norm,
    rerun,
    scores_of_two_rates,
    strided_residuals,
    whole_clip,
)
from support.mutations import (
    CAUGHT,
    EXACT,
    MUTATIONS,
    Case,
    Subject,
    fill_with_nan,
    rules_by_name,
)
from support.rule_networks import FRAMEWISE, HEADS, LAST, two_pathways
from support.streaming import without_masks

_TWO_RATES: dict[str, Any] = {"reference": "sliding", "lengths": (8, 12)}
CASES: dict[str, Case] = {
    **{name: Case(make, time_axis=1) for name, make in FRAMEWISE.items()},
    **{f"{n}, native": Case(make, 1, rate="native") for n, make in FRAMEWISE.items()},
    **{name: Case(make, reference="sliding") for name, make in HEADS.items()},
    "temporal stride, spread": Case(FRAMEWISE["temporal stride"], 1, rate="native", spread=True),
    "residuals, spread": Case(strided_residuals, 1, rate="native", spread=True),
    "last frame": Case(LAST["last frame"]),
    "flattened clip": Case(partial(whole_clip, lambda x: x.flatten(1)), lengths=(8,)),
    "squeezed clip": Case(partial(whole_clip, lambda x: x.squeeze(2).flatten(1)), lengths=(8,)),
    # The other lengths leave as many frames over, and hide an end that comes a frame early.
    "vectors between vectors, native": Case(
        FRAMEWISE["vectors between vectors"], 1, rate="native", lengths=(8, 9, 4)
    ),
    "gate over a window": Case(gate, 1, "sliding", scope="window"),
    "norm over a window": Case(norm, 1, "sliding", scope="window"),
    "attention over a window": Case(attention, 1, "sliding", scope="window"),
    "counting attention over a window": Case(
        partial(attention, counts=True), 1, "sliding", scope="window"
    ),
    "rerun on the clip": Case(rerun, reference="sliding", lengths=(8, 11), fallback=True),
    "two pathways": Case(two_pathways, **_TWO_RATES),
    "two pathways, native": Case(two_pathways, **_TWO_RATES, rate="native"),
    "scores of two rates": Case(scores_of_two_rates, **_TWO_RATES),
    "scores of two rates, native": Case(scores_of_two_rates, **_TWO_RATES, rate="native"),
}

# Mutations that do not change the steps, with the reason.
ORDER = {"readings in reverse order": "its terms are summed, or the largest is taken, in any order"}
NO_PADDING = {"no fill": "without padding it reads nothing outside the clip"}
ZEROS = {"no fill": "before the clip states hold zeros anyway, and no result comes after its end"}
JOINED = {"an element more at the end": "the frames that it meets have none there"}
BESIDE = {"said to see a frame fewer": "what it meets sees as far back"}
PRESENCE = {
    "another fill": "it looks at no value, but at whether there is one",
    "no fill": "it looks at no value, but at whether there is one",
    "last reading too old": "the newest element is always there",
}
FULL = {
    "another fill": "a clip of the training length fills its window",
    "no fill": "a clip of the training length fills its window",
}

# Rule -> the networks that test it alone, each with the mutations that it cannot catch.
TABLE: dict[str, dict[str, dict[str, str]]] = {
    "lower_sum_taps": {
        "depthwise with a stride in space": ORDER,
        "dilated depthwise with a stride in space": ORDER,
        "depthwise with a stride in space, no temporal padding": ORDER
        | NO_PADDING
        | {"another fill": NO_PADDING["no fill"]},
    },
    "lower_conv": {
        "dense convolution": {},
        "temporal dilation": {},
        "even kernel, padding=same": {},
        "more padding than kernel": {},
        "no temporal padding": NO_PADDING,
        "depthwise": {},
        "temporal stride": {},
        "temporal stride, native": {},
        "temporal stride, spread": {},
        "convolutions over vectors": {},
        "convolutions over rows": {},
    },
    "lower_conv_transpose": {
        "transposed convolution over time": {},
        "transposed convolution with a stride in time, native": {},
        "transposed convolution in groups, native": {},
        "transposed convolution that leaves gaps, native": NO_PADDING
        | {"another fill": NO_PADDING["no fill"]},
        "transposed convolution with dilated taps, native": {},
        "transposed convolution of vectors, native": {},
        "transposed convolution of rows, native": {},
    },
    "lower_max_pool": {
        "max pool over time, signed input": ORDER,
        "dilated max pool": ORDER,
        "strided pools that round up": ORDER,
        "strided pools that round up, native": ORDER,
        "pools over vectors": ORDER,
    },
    "lower_avg_pool": {
        "average pool": ORDER,
        "mean without its padding": ORDER,
        "mean without its padding that rounds up": ORDER,
        "mean without its padding that rounds up, native": ORDER,
        "mean with a divisor": ORDER,
        "pools over vectors": ORDER,
    },
    "lower_adaptive_avg_pool3d": {"adaptive in space, then the mean": {}},
    "lower_reduction": {
        "mean over time and space": ORDER | ZEROS,
        "sum over time": ORDER | ZEROS,
        "smallest and largest over time": ORDER,
        "reductions over channels and space": {},
    },
    "lower_sliding_mean": {"gate over a window": ORDER | ZEROS | JOINED},
    "lower_sliding_variance": {"norm over a window": ORDER | ZEROS | JOINED | BESIDE},
    "lower_newest_elements": {"counting attention over a window": ORDER | ZEROS | JOINED},
    "lower_newest_exist": {"attention over a window": PRESENCE | JOINED | BESIDE},
    "lower_collect": {"rerun on the clip": FULL},
    "lower_recomputed": {"rerun on the clip": {}},
    "lower_folded": {"two-dimensional layers on folded frames": {}},
    "lower_pointwise": {
        "residual": ORDER,
        "masks and choices": {},
        "crop beside a convolution without padding": ORDER,
        "strided shortcut": ORDER,
        "strided shortcut, native": ORDER,
        "residuals, spread": ORDER,
        "activations": {},
        "scores of two rates": {},
        "scores of two rates, native": {},
    },
    "lower_cat": {
        "branches of unequal delay": {},
        "two pathways": {},
        "two pathways, native": {},
    },
    "lower_linear": {"softmax per frame, then the mean": {}, "mean over time and space": {}},
    "lower_softmax": {"softmax per frame, then the mean": {}},
    "lower_matmul": {"attention within frames": {}},
    "lower_layer_norm": {"layer norm over channels": {}},
    "lower_getitem": {"norm that returns its statistics": {}},
    "lower_channelwise": {"gated and sloped": {}},
    "lower_picture": {"pixels from channels": {}},
    "lower_nearest": {
        "resizing space": {},
        "nearest frames, native": {},
        "nearest vectors, native": {},
    },
    "lower_linear_resize": {
        "resizing space": {},
        "frames between frames, native": {},
        "vectors between vectors, native": {},
    },
    "lower_repeat_interleave": {"repeated frames, native": {}},
    "lower_slice": {
        "crop in time": {},
        "temporal stride by slicing": {},
        "temporal stride by slicing, native": {},
        "channel slice": {},
    },
    "lower_select": {"one channel, as many times": {}, "last frame": {}},
    "lower_reordering": {"reordered channels": {}},
    "lower_pad": {"pad in time, with a value": {}, "pad in space": {}},
    "lower_mirror_pad3d": {"mirrored borders": {}},
    "lower_permute": {"shuffled channels": {}},
    "lower_reshape": {
        "frames of channels, native": {},
        "expanded frames, native": {},
        "shuffled channels": {},
        "flattened clip": {},
    },
    "lower_squeeze": {"mean over time and space": {}, "squeezed clip": {}},
    "lower_expand": {"one channel, as many times": {}},
    "lower_repeat": {"one channel, as many times": {}},
    "lower_unsqueeze": {"one channel, as many times": {}},
}
# The rule of operators that a rewrite takes out of the graph, or refuses.
PASSING = {"lower_clip_norm"}
# Rules that test_scan_mutations.py and test_folding_mutations.py have.
RECURRENT = {"lower_scan", "lower_cumulative"}
RECURRENT |= {"lower_extremum_with_positions", "lower_refused_recurrence"}
FOLDING = {"lower_along_axes", "lower_einsum", "lower_statistic"}
# Other readings than the rule's operators are written for: the compiler, or torch, may refuse them.
MAY_BE_REFUSED = {
    "readings in reverse order",
    "first reading dropped",
    "last reading dropped",
    "one reading more",
    "everything read now",
}

_USED = sorted({name for cases in TABLE.values() for name in cases})
# torch says so of every even kernel with padding="same"; that case is here on purpose.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)


@cache
def subject(name: str) -> Subject:
    return Subject(CASES[name])


def test_every_rule_is_mutated() -> None:
    assert TABLE.keys() | PASSING | RECURRENT | FOLDING == rules_by_name().keys()


@pytest.mark.parametrize("name", _USED)
def test_without_a_mutation_steps_equal_clips(name: str) -> None:
    assert subject(name).error() <= EXACT
    assert subject(name).states_its_receptive_field()


@pytest.mark.parametrize(("rule", "name"), [(rule, name) for rule in TABLE for name in TABLE[rule]])
def test_a_mutated_rule_is_caught(rule: str, name: str) -> None:
    found = {what: subject(name).judge(rule, mutation) for what, mutation in MUTATIONS.items()}
    assert any(found.values())
    assert {what for what in found if found[what] == "unnoticed"} == TABLE[rule][name].keys()
    assert {what for what in found if found[what] == "refused"} <= MAY_BE_REFUSED
    # Steps do not depend on what a rule says of its receptive field, so the figure must be caught.
    figures = {"said to see a frame more", "said to see a frame fewer"} - TABLE[rule][name].keys()
    assert {found[what] for what in figures} == {"figure"}


@pytest.mark.parametrize("name", _USED)
def test_values_outside_the_clip_do_not_matter_where_no_rule_fills_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rule in rules_by_name():
        subject(name).mutate(monkeypatch, rule, fill_with_nan)
    assert subject(name).error() <= EXACT


# Masks of the elements outside the clip.


def _always_real(self: StepBuilder, node: fx.Node, fill: float) -> fx.Node:
    return self._current[node]


def _shift_positions(by: int) -> Callable[[StepBuilder, int], fx.Node]:
    original = StepBuilder._position
    return lambda self, delay: original(self, delay + by)


def _shift_end(by: int) -> Callable[[StepBuilder, int], fx.Node]:
    original = StepBuilder._last
    return lambda self, extent: original(self, extent + by)


MASKS: dict[str, tuple[str, Callable[..., Any]]] = {
    "none": ("_newest", _always_real),
    "a frame too late": ("_position", _shift_positions(1)),
    "a frame too early": ("_position", _shift_positions(-1)),
    "an element after the end": ("_last", _shift_end(1)),
    "without the last element": ("_last", _shift_end(-1)),
}


@pytest.mark.parametrize("mutation", MASKS)
@pytest.mark.parametrize(
    "name",
    [
        "dense convolution",
        "max pool over time, signed input",
        "pad in time, with a value",
        "one value, two fills",
        "mean without its padding",
        "temporal stride, native",
    ],
)
def test_wrong_masks_are_caught(name: str, mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = subject(name)
    method, wrong = MASKS[mutation]
    monkeypatch.setattr(StepBuilder, method, wrong)
    assert case.error() > CAUGHT


@pytest.mark.parametrize("name", ["dense convolution", "mean over time and space"])
def test_steady_graphs_at_the_edges_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = subject(name)
    program = without_masks(case.build("both"))
    monkeypatch.setattr(case, "build", lambda *_: program)
    assert case.error() > CAUGHT


@pytest.mark.parametrize(
    "name", ["mean over time and space", "mean without its padding", "gate over a window"]
)
def test_mean_over_elements_outside_the_clip_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = subject(name)
    monkeypatch.setattr(StepBuilder, "count_inside", lambda *_: None)
    assert case.error() > CAUGHT


# Native rate: a value that is not made at its reader's tick is read from state.

Reading = tuple[int, bool]
LATCHES: dict[str, Callable[[Reading], Reading]] = {
    "missing": lambda found: (found[0], True),
    "too many": lambda found: (found[0], False),
    "one too deep": lambda found: (found[0] + 1, found[1]),
    "one too shallow": lambda found: (found[0] - (not found[1]), found[1]),
}


@pytest.mark.parametrize("mutation", LATCHES)
@pytest.mark.parametrize(
    "name",
    [
        "strided shortcut, native",
        "two pathways, native",
        "scores of two rates, native",
        "residuals, spread",
    ],
)
def test_wrong_latches_are_caught(
    name: str, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, original, changed = subject(name), states.find_element, []

    def wrong(*args: Any, **kwargs: Any) -> Reading:
        right = original(*args, **kwargs)
        changed.append(LATCHES[mutation](right) != right)
        return LATCHES[mutation](right)

    for module in (states, emit):
        monkeypatch.setattr(module, "find_element", wrong)
    assert case.verdict() in ("differs", "refused")
    assert any(changed)


# Spread work: values that are postponed are read later.


def _postpone(lowering: Lowering, delay: int, back: int) -> Lowering:
    uses = [replace(use, back=use.back + back) for use in lowering.uses]
    return replace(
        lowering, type=replace(lowering.type, delay=lowering.type.delay + delay), uses=uses
    )


POSTPONED: dict[str, Callable[[Lowering, int], Lowering]] = {
    "without its readings": lambda lowering, ticks: _postpone(lowering, ticks, 0),
    "in its readings alone": lambda lowering, ticks: _postpone(lowering, 0, ticks),
    "but read an element too early": lambda lowering, ticks: _postpone(
        lowering, ticks, ticks + lowering.type.stride * bool(ticks)
    ),
}


@pytest.mark.parametrize("mutation", POSTPONED)
@pytest.mark.parametrize("name", ["temporal stride, spread", "residuals, spread"])
def test_wrongly_postponed_values_are_caught(
    name: str, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, waited = subject(name), []

    def wrong(lowering: Lowering, ticks: int) -> Lowering:
        waited.append(ticks)
        return POSTPONED[mutation](lowering, ticks)

    monkeypatch.setattr(Lowering, "postponed", wrong)
    assert case.verdict() in ("differs", "refused")
    assert any(waited)
