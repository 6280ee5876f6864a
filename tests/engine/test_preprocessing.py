"""The native kernel's frames equal PyTorch's, bit for bit."""

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
def test_pictures_may_have_any_memory_layout(cut):
    picture = cut(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    assert torch.equal(Preprocessor(CARD, uses_kernel=True)(picture), CARD.preprocess(picture))


def test_nothing_beyond_the_last_pixel_is_read():
    from mmap import PAGESIZE, mmap

    # The picture ends at the end of a memory mapping, so that reading beyond it is a fault.
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


def test_pictures_of_several_sizes_and_frames_are_made_in_their_order():
    random = np.random.default_rng(0)
    sizes = [(48, 64), (3, 2), (90, 121), (7, 4000)]
    pictures = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    frames = [CARD.preprocess(picture) for picture in pictures]
    preprocess = Preprocessor(CARD, uses_kernel=True)
    plans = [preprocess.plan(picture) for picture in pictures]
    assert torch.equal(preprocess.make(plans), torch.cat(frames))
    mixed = [plans[0], frames[1], plans[2], frames[3]]
    assert torch.equal(preprocess.make(mixed), torch.cat(frames))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_other_arrays_than_pictures_are_refused(shape):
    with pytest.raises(InputShapeError):
        Preprocessor(CARD, uses_kernel=True)(np.zeros(shape, np.uint8))
