import pytest

from co3d.evaluation.published import list_published
from co3d.models import get_card

CLIP = {"weights": "kinetics400", "mode": "clip", "views": "10x3", "window": None, "rate_hz": 6.0}
STREAM = CLIP | {"mode": "stream", "views": None, "window": 64}
PAPER_CLIP = "Kinetics-400 top-1, one clip (arXiv:2106.00050)"
PAPER_STREAM = "Kinetics-400 top-1, stream, window 64, warm (arXiv:2106.00050)"


@pytest.mark.parametrize(
    ("settings", "repeated"),
    [
        (CLIP, {"Kinetics-400 top-1, 30 views": 76.2}),
        (CLIP | {"views": "1x1"}, {PAPER_CLIP: 67.24}),
        (CLIP | {"views": "1x1", "rate_hz": 3.0}, {}),
        (CLIP | {"views": "1x3"}, {}),
        (STREAM, {PAPER_STREAM: 71.03}),
        (STREAM | {"window": 16}, {}),
        (STREAM | {"rate_hz": 3.0}, {}),
    ],
)
def test_the_figure_of_this_mode_stands_out(settings, repeated):
    figures = list_published(get_card("x3d_m"), settings)
    assert {f.measure: f.percent for f in figures if f.is_repeated} == repeated


def test_other_weights_have_no_figure_of_the_paper():
    card = get_card("x3d_m")
    figures = list_published(card, STREAM | {"weights": "mine.pt"})
    assert [figure.measure for figure in figures] == list(card.published_accuracy)
