import math
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from threading import Event, Thread

import av
import numpy as np
import pytest

from co3d.errors import DamagedVideoError, OutputError
from co3d.report import AnnotatedVideo, annotated_video, label_colours
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
            annotated_video(target, reader, labeller, is_stopped=lambda: stopped) as video,
        ):
            with suppress(DamagedVideoError):  # which whoever labels tells
                list(reader)
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
def test_an_anamorphic_video_keeps_its_pixel_aspect_ratio(tmp_path, annotate, suffix):
    source, target = tmp_path / "source.mp4", tmp_path / f"out{suffix}"
    with VideoWriter(source, 16, sample_aspect_ratio=Fraction(16, 11)) as writer:
        for number in range(4):
            writer.write(drifting_picture(number), number / 16)
    annotate(source, target, predict(source))
    with read_video(target) as reader:
        assert reader.sample_aspect_ratio == Fraction(16, 11)
    with av.open(str(target)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_frames_between_ticks_show_the_latest_prediction(tmp_path, annotate):
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


def test_an_interrupted_output_ends_with_the_last_prediction(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 48)
    annotate(source, tmp_path / "out.mp4", predict(source)[:6], stopped=True)
    assert times(tmp_path / "out.mp4") == pytest.approx(times(source)[:12], abs=1e-4)


def test_a_damaged_source_is_written_up_to_the_damage(tmp_path, annotate):
    source = write_video(tmp_path / "whole.mkv", 64)
    predictions = predict(source)
    damaged = cut_short(source, tmp_path / "damaged.mkv")
    annotate(damaged, tmp_path / "out.mp4", predictions)
    assert len(times(tmp_path / "out.mp4")) == len(list_decodable_times(damaged)) < 64


def test_a_failure_keeps_what_was_written(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 64)
    with pytest.raises(RuntimeError):
        annotate(source, tmp_path / "out.mp4", fail_halfway(source))
    written = times(tmp_path / "out.mp4")
    assert len(written) > 4
    assert written == pytest.approx(times(source)[: len(written)], abs=1e-4)
    assert {path.name for path in tmp_path.iterdir()} == {"source.mp4", "out.mp4"}


def test_a_failure_before_the_first_picture_keeps_the_old_file(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 4)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    with pytest.raises(RuntimeError):
        annotate(source, tmp_path / "out.mp4", fail_at_once())
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert {path.name for path in tmp_path.iterdir()} == {"source.mp4", "out.mp4"}


def fail_at_once():
    yield from ()
    raise RuntimeError


@pytest.mark.parametrize("drops_late", [True, False])
def test_predictions_wait_for_a_slow_writer_unless_the_source_is_live(drops_late):
    """The writer takes a second picture only once all predictions have been added or waited."""
    begun, goes_on = Event(), Event()

    class SlowWriter:
        def __init__(self):
            self.times = []

        def write(self, image, pts_seconds):
            begun.set()
            goes_on.wait()
            self.times.append(pts_seconds)

    writer = SlowWriter()
    video = AnnotatedVideo(writer, COLOURS, 3, Fraction(1), None, drops_late=drops_late)
    adding = Thread(target=add_twenty, args=(video, begun))
    adding.start()
    adding.join(5.0 if drops_late else 0.1)
    assert adding.is_alive() != drops_late
    goes_on.set()
    adding.join()
    video.finish(math.inf)
    assert writer.times == ([0, 16, 17, 18, 19] if drops_late else list(range(20)))
    assert video.dropped_pictures == (15 if drops_late else 0)


def add_twenty(video, begun):
    for number in range(20):
        video.add(make_prediction("pan", number, image=drifting_picture(number), index=number))
        begun.wait()


def test_errors_of_the_writer_are_raised_by_add(labeller):
    class FullDisk:
        def write(self, image, pts_seconds):
            raise OutputError("no space left")

    video = AnnotatedVideo(FullDisk(), COLOURS, 3, Fraction(1), None, drops_late=True)
    prediction = make_prediction("pan", 0.0, image=drifting_picture(0), index=0)
    video.add(prediction)
    video._wait()
    with pytest.raises(OutputError, match="no space left"):
        video.add(prediction)
    with pytest.raises(OutputError, match="no space left"):
        video.finish(math.inf)
    video.stop()


def fail_halfway(source: Path):
    yield from predict(source)
    raise RuntimeError


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path, annotate):
    source = write_video(tmp_path / "source.mp4", 4)
    with pytest.raises(OutputError):
        annotate(source, tmp_path / "absent" / "out.mp4", [])


def test_frames_of_a_live_source_are_written_once(tmp_path, labeller):
    source = write_video(tmp_path / "source.mp4", 16)
    with open_reader(source) as reader:
        reader.can_open_again = False
        with annotated_video(
            tmp_path / "out.mp4", reader, labeller, is_stopped=lambda: False
        ) as video:
            for number in (0, 0, 1, 2, 2, 3):
                image = drifting_picture(number)
                video.add(make_prediction("pan", number / 8, image=image, index=number))
    assert times(tmp_path / "out.mp4") == pytest.approx([0, 0.125, 0.25, 0.375], abs=1e-4)
