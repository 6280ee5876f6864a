"""Photographs: readable, and never in two splits."""

import itertools

import numpy as np
import pytest

from co3d.datasets.generated.photographs import PHOTOGRAPHS, load_photograph, photographs_of
from co3d.errors import OptionError, SourceNotFoundError

SCENES = {"skimage/motorcycle_right.png": "skimage/motorcycle_left.png"}  # one scene, two views


def test_no_photograph_or_scene_is_in_two_splits():
    splits = [{SCENES.get(name, name) for name in names} for names in PHOTOGRAPHS.values()]
    for first, second in itertools.combinations(splits, 2):
        assert not first & second


@pytest.mark.parametrize("name", [name for names in PHOTOGRAPHS.values() for name in names])
def test_every_photograph_is_an_rgb_picture(name):
    picture = load_photograph(name)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 150


def test_errors_say_what_to_do():
    with pytest.raises(OptionError, match="choose one of these"):
        photographs_of("holiday")
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        load_photograph("skimage/holiday.png")


def test_a_missing_package_is_named_with_the_extra_that_installs_it(monkeypatch):
    monkeypatch.setattr("co3d.datasets.generated.photographs.find_spec", lambda name: None)
    with pytest.raises(SourceNotFoundError, match=r"co3d\[training\]"):
        load_photograph("skimage/brick.png")
