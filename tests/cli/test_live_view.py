import dataclasses
import io

import pytest
from rich.console import Console
from rich.text import Text

from co3d.cli.live_view import LiveView, draw_bar
from co3d.engine import LabellingSummary, open_labeller
from co3d.video import SourceState, read_video
from support.videos import open_reader, write_video, write_video_with_gap


@pytest.fixture(scope="module")
def labeller():
    return open_labeller(weights="random")


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=30)


def show(labeller, screen, path, *, is_live: bool = False, gap: str | None = None) -> str:
    """Everything that the live view drew for a video."""
    with read_video(path, rate_hz=8, gap=gap) as reader:
        reader.is_live = is_live
        summary = LabellingSummary(labeller.rate_hz)
        with LiveView(screen, "video.mp4", labeller, reader, summary) as view:
            for prediction in labeller.label(reader):
                summary.add(prediction)
                view.add(prediction)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_it_shows_labels_progress_and_figures(labeller, screen, tmp_path):
    drawn = show(labeller, screen, write_video(tmp_path / "video.mp4", 48))
    for text in (
        "camera_motion · video.mp4",
        "%",
        "of 3.0 s",
        "to go",
        "frames/s",
        "step",
        "delay 0.50 s",
        "dropped 0",
        labeller.compiled.backend,
    ):
        assert text in Text.from_ansi(drawn).plain


def test_no_label_is_shown_before_the_window_is_full(labeller, screen, tmp_path):
    drawn = show(labeller, screen, write_video(tmp_path / "video.mp4", 6))
    assert "filling the window" in drawn
    assert not any(label in drawn for label in labeller.labels)


def test_it_shows_no_label_below_the_threshold(labeller, screen, tmp_path):
    certain = dataclasses.replace(labeller, threshold=1.0)
    drawn = Text.from_ansi(show(certain, screen, write_video(tmp_path / "video.mp4", 48))).plain
    assert "no label reaches the threshold" in drawn
    assert not any(label in drawn for label in labeller.labels)


def test_a_source_without_an_end_has_no_progress(labeller, screen, tmp_path):
    drawn = show(labeller, screen, write_video(tmp_path / "video.mp4", 48), is_live=True)
    assert "to go" not in drawn
    assert "time" in drawn


def test_a_gap_interrupts_the_timeline(labeller, screen, tmp_path):
    path = write_video_with_gap(tmp_path / "video.mp4", 60)
    assert "┊" in show(labeller, screen, path, gap="reset")


def test_it_says_that_a_source_is_too_slow(labeller, screen, tmp_path):
    slow = write_video(tmp_path / "slow.mp4", 24, rate_hz=2.0)
    assert "undersampled" in Text.from_ansi(show(labeller, screen, slow)).plain


@pytest.mark.parametrize("phase", ["stalled", "reconnecting"])
def test_a_label_from_before_an_outage_is_not_shown_as_current(
    labeller, screen, tmp_path, monkeypatch, phase
):
    monkeypatch.setattr("co3d.cli.live_view.REDRAWS_PER_SECOND", 1e9)
    with open_reader(write_video(tmp_path / "video.mp4", 48)) as reader:
        summary = LabellingSummary(labeller.rate_hz)
        with LiveView(screen, "camera", labeller, reader, summary) as view:
            predictions = list(labeller.label(reader))
            for prediction in predictions:
                summary.add(prediction)
                view.add(prediction)
            assert "%" in drawn_since(screen, 0)
            marks = []
            for state in (SourceState(phase, "no answer"), SourceState("live")):
                marks.append(len(screen.file.getvalue()))
                view.show(state)
            away = drawn_since(screen, marks[0], marks[1])
            back = drawn_since(screen, marks[1])
            assert f"{phase} for 0 s (no answer)" in away
            assert "filling the window" in back
            assert "%" not in away + back
            marks.append(len(screen.file.getvalue()))
            view.add(predictions[-1])
            assert "%" in drawn_since(screen, marks[2])


def drawn_since(screen, start: int, end: int | None = None) -> str:
    return Text.from_ansi(screen.file.getvalue()[start:end]).plain


def test_it_says_that_it_waits_before_the_first_frame(labeller, screen, tmp_path):
    with (
        open_reader(write_video(tmp_path / "video.mp4", 6)) as reader,
        LiveView(screen, "video.mp4", labeller, reader, LabellingSummary(8.0)),
    ):
        pass
    assert "waiting for the first frames" in screen.file.getvalue()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.999, 1.0])
def test_a_bar_is_always_as_wide_as_asked(share):
    bar = draw_bar(share, 40, "#ffffff").plain
    assert len(bar) == 40
    assert bar.count("█") == int(round(share * 320) / 8)


def test_a_bar_counts_in_eighths():
    assert draw_bar(43 / 80, 10, "#ffffff").plain == "█████▍····"
