from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from co3d.report import annotate_frame, label_colours
from co3d.video.aspect import SQUARE
from support.predictions import LABELS, make_prediction

COLOURS = label_colours(LABELS)
GREY = np.full((360, 640, 3), 128, np.uint8)


def annotate(image, prediction, pts_seconds: float, aspect: Fraction = SQUARE) -> np.ndarray:
    return annotate_frame(
        image, prediction, COLOURS, pts_seconds, rows=3, sample_aspect_ratio=aspect
    )


def bar_pixels(picture: np.ndarray, label: str) -> int:
    """How many pixels have the colour of a label."""
    colour = [int(COLOURS[label][at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - colour).max(axis=2) <= 2).sum())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1080, 1920), (1080, 1920)),
        ((336, 448), (336, 448)),
        ((335, 449), (670, 898)),
        ((50, 50), (350, 350)),
    ],
)
def test_small_frames_are_enlarged_by_whole_numbers(size, expected):
    image = np.zeros((*size, 3), np.uint8)
    annotated = annotate(image, make_prediction("pan", 1.0), 1.0)
    assert annotated.shape == (*expected, 3)
    assert annotated.dtype == np.uint8


def test_only_the_bottom_of_the_frame_is_drawn_on():
    annotated = annotate(GREY, make_prediction("pan", 1.0), 1.0)
    changed = np.flatnonzero((annotated != GREY).any(axis=(1, 2)))
    assert changed[0] > 0.6 * len(GREY)
    assert changed[-1] == len(GREY) - 1


def test_the_original_frame_is_not_modified():
    image = GREY.copy()
    annotate(image, make_prediction("pan", 1.0), 1.0)
    assert np.array_equal(image, GREY)


def test_a_bar_is_as_long_as_its_probability():
    pixels = [
        bar_pixels(annotate(GREY, make_prediction("tilt", 1.0, probability=p), 1.0), "tilt")
        for p in (0.4, 0.8)
    ]
    assert pixels[0] > 100
    assert pixels[1] / pixels[0] == pytest.approx(2, rel=0.1)


def test_no_label_is_shown_before_the_window_is_full():
    prediction = make_prediction("tilt", 1.0, valid=False)
    annotated = annotate(GREY, prediction, 1.0)
    assert bar_pixels(annotated, "tilt") == 0
    assert (annotated != GREY).any()


def test_a_label_below_the_threshold_is_not_drawn_and_the_panel_keeps_its_height():
    prediction = make_prediction("tilt", 1.0)
    unsure = replace(prediction, top=())
    annotated = annotate(GREY, unsure, 1.0)
    assert bar_pixels(annotated, "tilt") == 0
    panels = [
        np.flatnonzero((p != GREY).any(axis=(1, 2)))
        for p in (annotated, annotate(GREY, prediction, 1.0))
    ]
    assert panels[0][0] == panels[1][0]
    assert (annotated != annotate(GREY, replace(unsure, valid=False), 1.0)).any()


def test_text_on_anamorphic_pictures_is_undistorted_when_shown():
    prediction = make_prediction("tilt", 1.0)
    squeezed = annotate(GREY[:, ::2], prediction, 1.0, Fraction(2))
    stretched = np.repeat(squeezed, 2, axis=1).astype(int)
    assert squeezed.shape == (360, 320, 3)
    assert np.abs(stretched - annotate(GREY, prediction, 1.0)).mean() < 3
    assert bar_pixels(squeezed, "tilt") == pytest.approx(
        bar_pixels(annotate(GREY, prediction, 1.0), "tilt") / 2, rel=0.1
    )


def test_the_time_shown_is_that_of_the_frame():
    prediction = make_prediction("tilt", 1.0)
    early = annotate(GREY, prediction, 1.0)
    late = annotate(GREY, prediction, 8.88)
    assert (early != late).any()


def test_long_names_do_not_run_into_their_bars():
    narrow = np.full((480, 240, 3), 128, np.uint8)
    prediction = make_prediction("roll counter-clockwise", 1.0, probability=0.97)
    short = make_prediction("pan", 1.0, probability=0.97)
    long_bar = bar_pixels(annotate(narrow, prediction, 1.0), "roll counter-clockwise")
    assert long_bar == pytest.approx(bar_pixels(annotate(narrow, short, 1.0), "pan"), rel=0.02)
