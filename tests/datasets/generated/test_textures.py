"""Procedural textures: pictures in range, with something to see, the same for the same seed."""

import numpy as np
import pytest

from co3d.datasets.generated.textures import TEXTURES


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_texture_is_a_picture_with_contrast(texture):
    picture = texture(96, np.random.default_rng(1))
    assert picture.shape == (96, 96, 3)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert picture.std() > 0.03


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_texture_repeats_with_its_seed(texture):
    first, again, other = (texture(64, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
