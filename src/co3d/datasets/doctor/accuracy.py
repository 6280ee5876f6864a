"""Bounds of the accuracy on all listed videos when some of them are lost."""

from dataclasses import dataclass
from math import sqrt

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class AccuracyBounds:
    """Bounds of the accuracy on all listed videos, given the accuracy on the usable ones.

    Attributes:
        listed, usable: numbers of videos.
        accuracy: measured or assumed on the usable ones; 0 to 1.
        worst: bounds if the lost videos are all wrong, or all right (Manski's bounds).
        at_random: 95 % interval if the losses are independent of the network's mistakes (Wilson's
            score interval, with finite-population correction).
        sampling: 95 % interval for the population that the usable videos are a sample of (Wilson's
            score interval): the uncertainty from the size of the set even without losses.
    """

    listed: int
    usable: int
    accuracy: float
    worst: tuple[float, float]
    at_random: tuple[float, float]
    sampling: tuple[float, float]


def bound_accuracy(listed: int, usable: int, accuracy: float) -> AccuracyBounds:
    """Bound the accuracy on `listed` videos by that on `usable` of them."""
    share = usable / listed if listed else 0.0
    worst = (accuracy * share, accuracy * share + 1 - share)
    lost = listed - usable
    sampling = wilson_interval(accuracy, usable) if usable else (0.0, 1.0)
    at_random = sampling
    if usable:  # the effective number of trials grows to infinity when none is lost
        trials = usable * (listed - 1) / lost if lost else None
        at_random = wilson_interval(accuracy, trials) if trials else (accuracy, accuracy)
    return AccuracyBounds(listed, usable, accuracy, worst, at_random, sampling)


def wilson_interval(share: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share that was seen in `count` trials."""
    z2 = NORMAL_95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = (
        NORMAL_95 / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    )
    return max(centre - half, 0.0), min(centre + half, 1.0)
