"""Frames that the native kernel makes are those of PyTorch, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from co3d.engine.preprocessing import Preprocessor
from co3d.errors import InputShapeError
from co3d.models import get_card

CARD = get_card("camera_motion")
CARDS = {
    "camera_motion": CARD,
    "cropped on all sides": replace(CARD, crop_px=32, short_side_px=40),
    "squeezed": replace(CARD, crop_px=20, resize_px=(24, 31)),
}


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize(
    ("height", "width"),
    [(48, 64), (64, 64), (90, 121), (7, 9), (5, 40), (3, 2), (361, 200), (40, 4000)],
)
def test_frames_are_those_of_the_card(name, height, width):
    card, random = CARDS[name], np.random.default_rng(height)
    grey = random.integers(0, 256, (height, width, 3), np.uint8)
    harsh = random.choice(np.array([0, 255], np.uint8), (height, width, 3))
    preprocess = Preprocessor(card, uses_kernel=True)
    for picture in (grey, harsh):
        assert torch.equal(preprocess(picture), card.preprocess(picture))


@pytest.mark.parametrize(
    "cut",
    [
        lambda picture: picture[5:-5, 7:-3],
        lambda picture: picture[::2, ::2],
        lambda picture: picture[::-1, ::-1],
        lambda picture: np.asfortranarray(picture),
        lambda picture: np.lib.stride_tricks.as_strided(picture[:1], (60, 80, 3), (0, 3, 1)),
    ],
)
def test_pictures_may_lie_in_memory_in_any_way(cut):
    picture = cut(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    assert torch.equal(Preprocessor(CARD, uses_kernel=True)(picture), CARD.preprocess(picture))


def test_nothing_beyond_the_last_pixel_is_read():
    from mmap import PAGESIZE, mmap

    # The picture ends where its mapping does: what is read beyond it ends the process.
    height, width = 64, 64
    memory = mmap(-1, -(-height * width * 3 // PAGESIZE) * PAGESIZE)
    assert len(memory) == height * width * 3
    picture = np.frombuffer(memory, np.uint8).reshape(height, width, 3)
    picture[:] = 7
    assert torch.equal(Preprocessor(CARD, uses_kernel=True)(picture), CARD.preprocess(picture))


def test_networks_that_scale_without_antialiasing_are_fed_by_pytorch():
    card = replace(CARD, antialias=False)
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    assert torch.equal(Preprocessor(card, uses_kernel=True)(picture), card.preprocess(picture))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(InputShapeError):
        Preprocessor(CARD, uses_kernel=True)(np.zeros(shape, np.uint8))
