import pytest
import torch

from co3d.engine import SpeedComparison, compare_with_clip
from support.videos import open_reader, write_video


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    path = write_video(tmp_path_factory.mktemp("comparison") / "video.mp4", 24)
    return list(open_reader(path))


def make_comparison(labeller) -> SpeedComparison:
    return SpeedComparison(labeller.program.macs_per_frame, labeller.program.clip_macs)


def test_each_full_clip_is_timed_with_one_step(labeller, frames):
    comparison = make_comparison(labeller)
    rounds = list(compare_with_clip(labeller, frames, comparison))
    expected = len(frames) - labeller.card.clip_frames + 1
    assert len(rounds) == len(comparison.step_ms) == len(comparison.clip_ms) == expected
    assert min(comparison.step_ms) > 0


def test_the_clip_network_sees_the_newest_frames(labeller, frames, monkeypatch):
    clips = []
    forward = labeller.model.forward
    monkeypatch.setattr(labeller.model, "forward", lambda clip: clips.append(clip) or forward(clip))
    list(compare_with_clip(labeller, frames, make_comparison(labeller)))
    newest = [labeller.card.preprocess(frame.image) for frame in frames[-8:]]
    assert torch.equal(clips[-1], torch.stack(newest, dim=2))


def test_ratios_follow_from_medians_and_macs():
    comparison = SpeedComparison(10, 80, step_ms=[1.0, 2.0, 9.0], clip_ms=[10.0, 12.0, 50.0])
    assert comparison.speedup == 6.0
    assert comparison.macs_ratio == 8.0
    assert comparison.as_dict()["speedup"] == 6.0
