"""Mutated rules of recurrences are caught."""

from functools import cache

import pytest
import torch
from torch import fx

from co3d.compiler.rules import UnsupportedError
from support.mutations import CAUGHT, EXACT, MUTATIONS, Case, Subject, rules_by_name
from support.recurrent_networks import FRAMEWISE
from support.rule_networks import LENGTHS

# Mutations that do not change the steps, with the reason.
FIGURES = ("said to see a frame more", "said to see a frame fewer")
ENDLESS = dict.fromkeys(FIGURES, "it sees all frames from the first one on, whatever else it sees")
ZEROS = {"no fill": "a state without a fill begins with zeros, as this recurrence does"}
ORDER = {"readings in reverse order": "its terms are summed, or the largest is taken, in any order"}
# Rule -> the networks that test it alone, each with the mutations that it cannot catch.
TABLE = {
    "lower_scan": {
        "loop of convolutional LSTM cells": ENDLESS | ZEROS,
        "LSTM": ENDLESS | ZEROS,
        "GRU": ENDLESS | ZEROS,
        "loop without a past": {},
    },
    "lower_cumulative": {
        "cumulative sum": ORDER | ENDLESS | ZEROS,
        "cumulative product": ORDER | ENDLESS,
        "running extrema": ORDER | ENDLESS,
        "sums behind a stride": ORDER | ENDLESS | ZEROS,
        "sums behind a stride, native": ORDER | ENDLESS | ZEROS,
    },
}
PAIRS = [(rule, name) for rule, cases in TABLE.items() for name in cases]
# Other readings than the rule's operators are written for: the compiler, or torch, may refuse them.
MAY_BE_REFUSED = {
    "readings in reverse order",
    "first reading dropped",
    "last reading dropped",
    "one reading more",
    "everything read now",
    "last reading too new",
    "last reading too old",
}


@cache
def subject(name: str) -> Subject:
    make, axis = FRAMEWISE[name.removesuffix(", native")]
    lengths = (8, 12) if "stride" in name else LENGTHS
    rate = "native" if name.endswith("native") else "dense"
    return Subject(Case(make, axis, rate=rate, lengths=lengths))


@pytest.mark.parametrize(("rule", "name"), PAIRS)
def test_a_mutated_rule_is_caught(rule: str, name: str) -> None:
    assert subject(name).error() <= EXACT < CAUGHT
    assert subject(name).states_its_receptive_field()
    found = {what: subject(name).judge(rule, mutation) for what, mutation in MUTATIONS.items()}
    assert any(found.values())
    assert {what for what in found if found[what] == "unnoticed"} == TABLE[rule][name].keys()
    assert {what for what in found if found[what] == "refused"} <= MAY_BE_REFUSED


def test_bidirectional_layers_are_refused() -> None:
    x = fx.Graph().placeholder("x")
    two_ways = (x, x, [], False, 1, 0.0, False, True, True)
    node = x.graph.call_function(torch.ops.aten.gru.input, two_ways)
    with pytest.raises(UnsupportedError):
        rules_by_name()["lower_refused_recurrence"](None, node)  # type: ignore[arg-type]
