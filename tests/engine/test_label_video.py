"""`label_video` yields the predictions of a source."""

from pathlib import Path

import pytest
from torch import nn

import co3d
from co3d.errors import OptionError, SourceNotFoundError, UnknownModelError
from co3d.video import read_video


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(3, 2, 3, padding=1, stride=(1, 8, 8)), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    )


def test_it_gives_the_valid_predictions_of_a_labeller(clip_video: Path, labeller) -> None:
    with read_video(clip_video, rate_hz=labeller.rate_hz) as reader:
        expected = [made for made in labeller.label(reader) if made.valid]
    actual = list(co3d.label_video(clip_video, weights="random"))
    assert [made.pts_seconds for made in actual] == [made.frame.pts_seconds for made in expected]
    assert len(actual) > 0
    assert all(isinstance(made.label, str) and 0 < made.probability <= 1 for made in actual)


def test_a_users_network_with_a_card_labels(clip_video: Path) -> None:
    network = _network()
    network.card = co3d.ModelCard("own", 4, 8.0, 32, 32, (0, 0, 0), (1, 1, 1), labels=("a", "b"))
    found = list(co3d.label_video(clip_video, model=network))
    assert {made.label for made in found} <= {"a", "b"}
    renamed = list(co3d.label_video(clip_video, model=network, labels=["c", "d"], threshold=0.999))
    assert {made.label for made in renamed} <= {"c", "d", None}
    assert [made.pts_seconds for made in renamed] == [made.pts_seconds for made in found]


def test_errors_come_before_the_first_prediction(clip_video: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        co3d.label_video("absent.mp4")
    with pytest.raises(UnknownModelError):
        co3d.label_video(clip_video, model="absent")
    with pytest.raises(OptionError, match="it does not say how to prepare a picture"):
        co3d.label_video(clip_video, model=_network())
    network = _network()
    network.card = co3d.ModelCard("own", 4, 8.0, 32, 32, (0, 0, 0), (1, 1, 1))
    with pytest.raises(OptionError, match="load them into it first"):
        co3d.label_video(clip_video, model=network, weights="mine.pt")
