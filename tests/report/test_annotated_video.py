from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from co3d.errors import OutputError
from co3d.report import annotated_video, label_colours
from co3d.video import VideoWriter, read_video
from support.predictions import LABELS, make_prediction
from support.videos import (
    cut_short,
    drifting_picture,
    list_decodable_times,
    open_reader,
    write_video,
)

COLOURS = label_colours(LABELS)


def predict(path: Path):
    """A prediction for each frame sampled at 8 Hz."""
    with open_reader(path) as reader:
        return [
            make_prediction(LABELS[n % 2], frame.pts_seconds, image=frame.image, index=frame.index)
            for n, frame in enumerate(reader)
        ]


@pytest.fixture
def annotate(labeller):
    def run(source: Path, target: Path, predictions, *, stopped: bool = False) -> None:
        with (
            open_reader(source) as reader,
            annotated_video(
                target, str(source), reader, labeller, is_stopped=lambda: stopped
            ) as video,
        ):
            for prediction in predictions:
                video.add(prediction)

    return run


def times(path: Path) -> list[float]:
    with read_video(path) as reader:
        return [frame.pts_seconds for frame in reader]


def test_every_frame_of_the_source_is_written_at_its_time(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 33)
    annotate(source, tmp_path / "out.mp4", predict(source))
    assert times(tmp_path / "out.mp4") == pytest.approx(times(source), abs=1e-4)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_an_anamorphic_video_stays_one(tmp_path, annotate, suffix):
    source, target = tmp_path / "source.mp4", tmp_path / f"out{suffix}"
    with VideoWriter(source, 16, sample_aspect_ratio=Fraction(16, 11)) as writer:
        for number in range(4):
            writer.write(drifting_picture(number), number / 16)
    annotate(source, target, predict(source))
    with read_video(target) as reader:
        assert reader.sample_aspect_ratio == Fraction(16, 11)
    with av.open(str(target)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_frames_between_carry_the_latest_prediction(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 9, rate_hz=32.0)
    annotate(source, tmp_path / "out.mp4", predict(source)[:2], stopped=True)
    with read_video(tmp_path / "out.mp4") as reader:
        foots = [frame.image[-106:].astype(int) for frame in reader]
    target = [int(COLOURS["tilt"][at : at + 2], 16) for at in (1, 3, 5)]
    named_tilt = [int((np.abs(foot - target).max(axis=2) < 24).sum()) > 200 for foot in foots]
    assert named_tilt == [False] * 4 + [True] * 4  # the ninth belongs to the third prediction


def test_frames_after_the_last_tick_are_written_too(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 9, rate_hz=30.0)
    annotate(source, tmp_path / "out.mp4", predict(source)[:1])
    assert len(times(tmp_path / "out.mp4")) == 9


def test_an_interrupted_labelling_ends_where_the_predictions_end(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 48)
    annotate(source, tmp_path / "out.mp4", predict(source)[:6], stopped=True)
    assert times(tmp_path / "out.mp4") == pytest.approx(times(source)[:12], abs=1e-4)


def test_a_damaged_source_is_written_as_far_as_it_decodes(tmp_path, annotate):
    source = write_video(tmp_path / "whole.mkv", 64)
    predictions = predict(source)
    damaged = cut_short(source, tmp_path / "damaged.mkv")
    annotate(damaged, tmp_path / "out.mp4", predictions)
    assert len(times(tmp_path / "out.mp4")) == len(list_decodable_times(damaged)) < 64


def test_a_failure_leaves_nothing_behind(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 16)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    with pytest.raises(RuntimeError):
        annotate(source, tmp_path / "out.mp4", fail_halfway(source))
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert {path.name for path in tmp_path.iterdir()} == {"source.mp4", "out.mp4"}


def fail_halfway(source: Path):
    yield from predict(source)
    raise RuntimeError


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 4)
    with pytest.raises(OutputError):
        annotate(source, tmp_path / "absent" / "out.mp4", [])


def test_of_a_live_source_the_frames_seen_are_written_once(tmp_path, labeller):
    source = write_video(tmp_path / "source.mp4", 16)
    with open_reader(source) as reader:
        reader.is_live = True
        with annotated_video(
            tmp_path / "out.mp4", str(source), reader, labeller, is_stopped=lambda: False
        ) as video:
            for number in (0, 0, 1, 2, 2, 3):
                image = drifting_picture(number)
                video.add(make_prediction("pan", number / 8, image=image, index=number))
    assert times(tmp_path / "out.mp4") == pytest.approx([0, 0.125, 0.25, 0.375], abs=1e-4)
