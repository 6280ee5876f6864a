"""Mutated films and pictures: typed errors, soon, in bounded memory."""

import resource
from pathlib import Path

import numpy as np
import pytest

from hostile.media_targets import CODECS, PICTURES, TARGETS, choose_targets, make_sample, mutate

MOST_BYTES = 2**30


def run_rounds(suffix: str, seeds: range, folder: Path) -> None:
    sample = make_sample(suffix)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        data = mutate(sample, np.random.default_rng(seed))
        for name in choose_targets(suffix):
            try:
                TARGETS[name](data, folder)
            except Exception as error:
                raise AssertionError(f"{name} of {suffix} with seed {seed}") from error
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown * 1024 < MOST_BYTES


@pytest.mark.parametrize("suffix", [*CODECS, *PICTURES])
def test_a_few_mutations(suffix, tmp_path):
    run_rounds(suffix, range(4), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*CODECS, *PICTURES])
def test_many_mutations(suffix, tmp_path):
    run_rounds(suffix, range(100, 400), tmp_path)


def test_samples_are_whole(tmp_path):
    for suffix in CODECS:
        TARGETS["media file"](make_sample(suffix), tmp_path)
