import numpy as np
import pytest

from co3d.datasets.doctor.accuracy import bound_accuracy, wilson_interval


def test_wilson_interval_of_textbook_cases():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_without_losses_only_the_sampling_interval_remains():
    bounds = bound_accuracy(100, 100, 0.7)
    assert bounds.worst == pytest.approx((0.7, 0.7))
    assert bounds.at_random == (0.7, 0.7)
    assert bounds.sampling == wilson_interval(0.7, 100)


def test_with_everything_lost_all_bounds_are_0_to_1():
    bounds = bound_accuracy(100, 0, 0.7)
    assert bounds.worst == bounds.at_random == bounds.sampling == (0.0, 1.0)


def test_worst_bounds_by_hand():
    assert bound_accuracy(200, 150, 0.8).worst == pytest.approx((120 / 200, 170 / 200))


def test_random_losses_fall_into_the_interval_as_often_as_it_says():
    random = np.random.default_rng(0)
    listed, usable = 400, 300
    right = np.zeros(listed)
    right[:280] = 1
    hits = 0
    for _ in range(2000):
        seen = random.permutation(right)[:usable].mean()
        low, high = bound_accuracy(listed, usable, seen).at_random
        hits += low <= 0.7 <= high
    assert 0.93 < hits / 2000 < 0.97
