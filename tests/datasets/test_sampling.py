import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from co3d.datasets.sampling import (
    Sampling,
    choose_indices,
    estimate_rate,
    measure_duration,
    pyslowfast_indices,
    pyslowfast_start,
)
from co3d.errors import OptionError
from co3d.video.sampling import sample_at_rate

STEADY = np.arange(300) / 30


def test_by_time_a_single_clip_lies_in_the_middle():
    indices = choose_indices(STEADY, Sampling(), frames=16, rate_hz=6.0)
    assert set(np.diff(indices)) == {5}
    assert indices[0] == round((10 - 16 / 6) / 2 * 30)


def test_views_reach_from_start_to_end():
    views = [
        choose_indices(STEADY, Sampling(views=3), frames=16, rate_hz=6.0, view=view)
        for view in range(3)
    ]
    assert [clip[0] for clip in views] == [0, 110, 220]
    assert views[-1][-1] == 220 + 75


@pytest.mark.parametrize("rate_hz", [24.0, 25.0, 29.97, 50.0])
def test_the_models_rate_is_kept_whatever_the_videos(rate_hz):
    times = 5.0 + np.arange(round(10 * rate_hz)) / rate_hz
    indices = choose_indices(times, Sampling(), frames=13, rate_hz=5.0)
    assert np.abs(np.diff(times[indices]) - 0.2).max() <= 1 / rate_hz + 1e-9
    assert times[indices][-1] - times[indices][0] == pytest.approx(2.4, abs=1 / rate_hz)


@given(
    st.lists(st.floats(0.001, 0.5), min_size=1, max_size=60),
    st.floats(1.0, 40.0),
)
def test_whole_videos_are_sampled_as_streams_are(steps, rate_hz):
    times = np.cumsum(steps).round(4)

    class Frame:
        def __init__(self, index):
            self.index, self.pts_seconds = index, float(times[index])

    expected = [f.index for f in sample_at_rate(map(Frame, range(len(times))), rate_hz, 60.0)]
    indices = choose_indices(times, Sampling(kind="whole"), frames=1, rate_hz=rate_hz)
    # A clip also shows the last frame for as long as it stays; a stream ends when it begins.
    assert indices[: len(expected)].tolist() == expected
    assert set(indices[len(expected) :]) <= {len(times) - 1}


def test_a_short_video_repeats_its_last_frame():
    for rule in ("time", "pyslowfast"):
        indices = choose_indices(STEADY[:10], Sampling(rule=rule), frames=16, rate_hz=6.0)
        assert indices[0] == 0
        assert indices[-1] == 9
        assert (np.diff(indices) >= 0).all()


def test_random_clips_lie_anywhere_and_follow_the_seed():
    sampling = Sampling(kind="random")

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return choose_indices(STEADY, sampling, 16, 6.0, generator=generator)

    starts = [int(draw(seed)[0]) for seed in range(300)]
    assert min(starts) < 20
    assert max(starts) > 200
    assert max(starts) <= 220
    np.testing.assert_array_equal(draw(4), draw(4))


# The figures below are worked out by hand from the rule that the oracles' README states.


@pytest.mark.parametrize(
    ("frames", "stride", "expected"),
    [
        (16, 5, [0, 5, 10, 15, 21, 26, 31, 36, 42, 47, 52, 57, 63, 68, 73, 79]),
        (8, 8, [0, 9, 18, 27, 36, 45, 54, 63]),
        (4, 12, [0, 15, 31, 47]),
    ],
)
def test_pyslowfast_spaces_frames_a_little_wider_than_the_rate(frames, stride, expected):
    times = np.arange(90) / 30
    sampling = Sampling(views=2, rule="pyslowfast")
    indices = choose_indices(times, sampling, frames, 30 / stride, view=0)
    assert indices.tolist() == expected
    assert expected == [math.floor(i * (frames * stride - 1) / (frames - 1)) for i in range(frames)]


def test_pyslowfast_views_start_at_even_places():
    assert [pyslowfast_start(300, 80, view, 10) for view in (0, 1, 9)] == [
        0,
        pytest.approx(220 / 9),
        220,
    ]
    assert pyslowfast_start(300, 80, 0, 1) == 0
    assert pyslowfast_start(60, 80, 3, 10) == 0


@given(
    total=st.integers(1, 400),
    fps=st.sampled_from([15.0, 24.0, 25.0, 29.97, 30.0, 60.0]),
    frames=st.integers(1, 32),
    stride=st.integers(1, 16),
    view=st.integers(0, 9),
)
def test_pyslowfast_rule_against_its_definition(total, fps, frames, stride, view):
    size = stride * frames / 30 * fps
    start = max(total - size, 0) * view / 9
    reference = torch.linspace(start, start + size - 1, frames)
    reference = torch.clamp(reference, 0, total - 1).long()
    got = pyslowfast_indices(pyslowfast_start(total, size, view, 10), size, frames, total)
    assert got.tolist() == reference.tolist()
    assert got.min() >= 0
    assert got.max() < total


def test_pyslowfast_scales_clips_by_the_videos_own_rate():
    sampling = Sampling(views=2, rule="pyslowfast")
    times = np.arange(600) / 60
    indices = choose_indices(times, sampling, 16, 6.0)
    assert indices[-1] == 2 * 80 - 1


def test_duration_and_rate_of_few_frames():
    assert measure_duration(np.array([3.0])) == 0
    assert measure_duration(np.array([3.0, 3.5])) == 1.0
    assert estimate_rate(np.array([3.0])) == 30
    assert estimate_rate(np.array([3.0, 3.5])) == 2
    for kind in ("uniform", "random", "whole"):
        indices = choose_indices(np.array([3.0]), Sampling(kind=kind), 4, 6.0)
        assert set(indices) == {0}


@pytest.mark.parametrize(
    "values",
    [
        {"views": 0},
        {"crops": 2},
        {"kind": "random", "views": 2},
        {"kind": "whole", "rule": "pyslowfast"},
        {"rate_hz": 0.0},
        {"rate_hz": math.nan},
        {"frames": 0},
    ],
)
def test_impossible_samplings_are_refused(values):
    with pytest.raises(OptionError):
        Sampling(**values)
