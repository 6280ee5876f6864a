"""Mutated rules of folded time, whole clips, named axes and statistics are caught."""

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

from support.mutations import CAUGHT, EXACT, MUTATIONS, Case, Subject
from support.networks import Apply, stem
from support.rule_networks import FRAMEWISE

Forward = Callable[[nn.Module, Tensor], Tensor]


def after_a_stem(forward: Forward, **modules: Callable[[], nn.Module]) -> nn.Module:
    made = {name: make() for name, make in modules.items()}
    return Apply(lambda m, x: forward(m, m.stem(x)), stem=stem(), **made)


def shift_pixels(m: nn.Module, y: Tensor) -> Tensor:
    n, c, t, h, w = y.shape
    rows = m.inner(y.permute(0, 3, 4, 1, 2).reshape(n * h * w, c, t))
    return rows.view(n, h, w, c, t).permute(0, 3, 4, 1, 2)


def pair_frames(m: nn.Module, y: Tensor) -> Tensor:
    n, c, t, h, w = y.shape
    pairs = m.inner(y.transpose(1, 2).reshape(n * t // 2, 2 * c, h, w))
    return pairs.view(n, t // 2, 5, h, w).transpose(1, 2)


def sort_channels(_m: nn.Module, y: Tensor) -> Tensor:
    return y.sort(1)[0] + y.roll(1, 3)


def mix_by_einsum(_m: nn.Module, y: Tensor) -> Tensor:
    return torch.einsum("ncthw,hw->nct", y, torch.linspace(-1, 1, 36).view(6, 6).to(y))


def variance_over_time(_m: nn.Module, y: Tensor) -> Tensor:
    return y.mean((3, 4)).logsumexp(2) + y.mean((3, 4)).norm(dim=2)


WHOLE = {"lengths": (8,)}
CASES: dict[str, Case] = {
    "shift of pixels": Case(
        partial(after_a_stem, shift_pixels, inner=partial(nn.Conv1d, 4, 4, 3, padding=1)), 1
    ),
    "pairs of frames": Case(
        partial(after_a_stem, pair_frames, inner=partial(nn.Conv2d, 8, 5, 1)),
        1,
        lengths=(8, 4, 12),
    ),
    "pairs of frames, native": Case(
        partial(after_a_stem, pair_frames, inner=partial(nn.Conv2d, 8, 5, 1)),
        1,
        rate="native",
        lengths=(8, 4, 12),
    ),
    "layer over a flattened clip": Case(
        partial(after_a_stem, lambda m, y: m.head(y.flatten(1)), head=partial(nn.Linear, 1152, 5)),
        **WHOLE,
    ),
    "whole frames of channels": Case(
        partial(
            after_a_stem,
            lambda m, y: m.head(y.transpose(1, 2).flatten(1, 2)[:, 8:20]),
            head=partial(nn.Conv2d, 12, 5, 3),
        ),
        **WHOLE,
    ),
    "an older frame": Case(partial(after_a_stem, lambda _m, y: y[:, :, 3]), **WHOLE),
    "frames by a table": Case(partial(after_a_stem, lambda _m, y: y[:, :, [1, 6, 3]]), **WHOLE),
    "sorted channels": Case(partial(after_a_stem, sort_channels), 1),
    "einsum within frames": Case(partial(after_a_stem, mix_by_einsum), 1),
    "statistics within frames": Case(FRAMEWISE["statistics over channels and space"], 1),
    "statistics over time": Case(partial(after_a_stem, variance_over_time), reference="sliding"),
}

# Mutations that do not change the steps, with the reason.
FULL = dict.fromkeys(("another fill", "no fill"), "a clip of the training length fills its window")
WHOLE_PAIRS = dict.fromkeys(
    ("another fill", "no fill"), "no pair begins before the clip, and none ends behind it"
)
ORDER = {"readings in reverse order": "its terms are summed, or the largest is taken, in any order"}
TABLE: dict[str, dict[str, dict[str, str]]] = {
    "lower_reshape": {
        "shift of pixels": {},
        "pairs of frames": WHOLE_PAIRS,
        "pairs of frames, native": WHOLE_PAIRS,
    },
    "lower_linear": {"layer over a flattened clip": FULL},
    "lower_slice": {"whole frames of channels": FULL},
    "lower_select": {"an older frame": FULL},
    "lower_reordering": {"frames by a table": FULL},
    "lower_along_axes": {"sorted channels": {}},
    "lower_einsum": {"einsum within frames": {}},
    "lower_statistic": {"statistics within frames": {}, "statistics over time": ORDER},
}
PAIRS = [(rule, name) for rule, cases in TABLE.items() for name in cases]
MAY_BE_REFUSED = {
    "readings in reverse order",
    "first reading dropped",
    "last reading dropped",
    "one reading more",
    "everything read now",
}


@cache
def subject(name: str) -> Subject:
    return Subject(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_without_a_mutation_steps_equal_clips(name: str) -> None:
    assert subject(name).error() <= EXACT < CAUGHT
    assert subject(name).states_its_receptive_field()


@pytest.mark.parametrize(("rule", "name"), PAIRS)
def test_a_mutated_rule_is_caught(rule: str, name: str) -> None:
    found = {what: subject(name).judge(rule, mutation) for what, mutation in MUTATIONS.items()}
    assert {what for what in found if found[what] == "unnoticed"} == TABLE[rule][name].keys()
    assert {what for what in found if found[what] == "refused"} <= MAY_BE_REFUSED
    assert found["said to see a frame more"] == found["said to see a frame fewer"] == "figure"
