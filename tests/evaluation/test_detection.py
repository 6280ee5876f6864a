"""Online detection against its definitions, counted one frame at a time."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_average_precision

from co3d.datasets.manifest import Segment, VideoEntry
from co3d.errors import DataError
from co3d.evaluation.detection import ScoredVideo, measure_detection, rank_precision
from co3d.evaluation.frame_scores import FrameScores
from co3d.evaluation.localisation import score_frames

FRAMES = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30)


def count_precision(frames: list[tuple[int, bool]], weight: float) -> float:
    """At each threshold that finds a positive: TP and FP counted anew, and the mean over positives.

    Positives of one score are found together.
    """
    total = 0.0
    for score, happens in frames:
        if happens:
            taken = [truth for other, truth in frames if other >= score]
            right, wrong = taken.count(True), taken.count(False)
            weighted = weight * right
            total += weighted / (weighted + wrong) if weighted + wrong else 1.0
    return total / sum(happens for _, happens in frames)


@given(FRAMES.filter(lambda frames: any(happens for _, happens in frames)))
def test_precision_follows_its_definition(frames):
    scores = np.array([score / 10 for score, _ in frames], np.float32)
    happens = np.array([truth for _, truth in frames])
    plain = rank_precision(scores, happens)
    assert plain == pytest.approx(count_precision(frames, 1.0))
    assert plain == pytest.approx(
        float(binary_average_precision(torch.from_numpy(scores), torch.from_numpy(happens).int()))
    )
    ratio = (~happens).sum() / happens.sum()
    calibrated = rank_precision(scores, happens, weight=ratio)
    assert calibrated == pytest.approx(count_precision(frames, ratio))


def test_calibration_makes_chance_one_half():
    """With no skill the calibrated precision is near 1/2, whatever the share of positives."""
    random = np.random.default_rng(0)
    happens = np.arange(20000) % 50 == 0
    scores = random.random(20000)
    assert rank_precision(scores, happens) == pytest.approx(1 / 50, abs=0.01)
    assert rank_precision(scores, happens, weight=49) == pytest.approx(0.5, abs=0.05)


def make_video(offset: float = 0.0) -> ScoredVideo:
    """Class 0 from 1 to 2 s, seen 0.25 s late; class 1 from 3 to 4 s, not seen."""
    times = np.arange(0, 5, 0.25) + offset
    scores = np.full((20, 3), 0.1, np.float32)
    scores[5:9, 0] = 0.9  # from 1.25 to 2 s
    return ScoredVideo(times, scores, (Segment(0, 1.0, 2.0), Segment(1, 3.0, 4.0)))


def test_measures_of_videos():
    found = measure_detection([make_video(), make_video()], 3)
    assert found is not None
    assert found.frames == 40
    # Four of five frames of class 0 rank first, one with the other fifteen of its score.
    assert found.per_class[0] == pytest.approx((4 * 1 + 5 / 20) / 5)
    assert found.calibrated_per_class[0] == pytest.approx((4 + 3 * 5 / (3 * 5 + 15)) / 5)
    assert found.per_class[1] == pytest.approx(5 / 20)
    assert found.calibrated_per_class[1] == pytest.approx(0.5)
    assert found.per_class[2] is None
    assert found.mean_average_precision == pytest.approx((4.25 / 5 + 0.25) / 2)
    assert (found.intervals, found.detected) == (4, 2)
    assert found.median_delay_seconds == found.mean_delay_seconds == pytest.approx(0.25)


def test_without_frames_there_is_no_measure_and_without_classes_no_mean():
    assert measure_detection([], 2) is None
    quiet = ScoredVideo(np.zeros(1), np.zeros((1, 2), np.float32), ())
    found = measure_detection([quiet], 2)
    assert found is not None
    assert np.isnan(found.mean_average_precision)
    assert found.median_delay_seconds is None


@pytest.mark.parametrize(("origin", "start"), [*product((0.0, 7.5), (None, 10.0))])
def test_frames_are_timed_from_the_beginning_of_the_file(origin, start):
    begin = start or 0.0
    entry = VideoEntry("a", "a.mp4", (0,), start, segments=(Segment(0, begin + 1, begin + 2),))
    times = [origin + begin + second for second in range(4)]
    video = score_frames(entry, times, np.ones((4, 1), np.float32))
    assert video.times_seconds.tolist() == [begin + second for second in range(4)]
    found = measure_detection([video], 1)
    assert found is not None
    assert found.median_delay_seconds == 0
    assert found.per_class == (0.5,)  # two of four frames


def test_missing_scores_and_scores_of_another_video_are_errors(tmp_path):
    kept = FrameScores(tmp_path / "scores", 2)
    kept.add(3, torch.tensor([[0.25, 0.75]]))
    assert kept.read(3, 1).tolist() == [[0.25, 0.75]]
    with pytest.raises(DataError, match="expected float32"):
        kept.read(3, 2)
    (tmp_path / "scores" / "000003.npy").write_bytes(b"")
    for index in (3, 4):
        with pytest.raises(DataError, match="not there or broken"):
            kept.read(index, 1)
