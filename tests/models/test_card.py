"""The card's preprocessing: size, crop, channel order and scale."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from co3d.errors import InputShapeError, OptionError
from co3d.models import ModelCard

CARD = ModelCard(
    name="test",
    clip_frames=4,
    rate_hz=2.5,
    crop_px=32,
    short_side_px=40,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.5),
)


def test_clip_shape() -> None:
    assert CARD.clip_shape == (3, 4, 32, 32)


@pytest.mark.parametrize("size", [(40, 40), (81, 43), (17, 300), (1, 5), (720, 1280)])
def test_a_picture_of_one_colour_keeps_its_colour(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (255, 0, 51), dtype=np.uint8)
    frame = CARD.preprocess(image)
    assert frame.shape == (1, 3, 32, 32)
    assert frame.dtype == torch.float32
    expected = torch.tensor([(1 - 0.4) / 0.2, (0 - 0.5) / 0.25, (0.2 - 0.6) / 0.5])
    torch.testing.assert_close(frame.amax((0, 2, 3)), expected)
    torch.testing.assert_close(frame.amin((0, 2, 3)), expected)


def test_preprocessing_crops_the_centre_and_keeps_the_orientation() -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)  # already at the short side: no scaling
    image[4:36, 14:46] = 255
    image[4, 14] = 0  # top left of the crop
    frame = CARD.preprocess(image)[0, 0]
    assert frame[0, 0] < 0
    assert torch.all(frame.flatten()[1:] > 0)


def test_every_picture_is_resized_to_the_fixed_size() -> None:
    card = dataclasses.replace(CARD, resize_px=(40, 64))
    image = np.zeros((80, 32, 3), dtype=np.uint8)
    image[:, 16:] = 255  # the right half is white: it stays so when the picture is stretched
    frame = card.preprocess(image)[0, 0]
    assert torch.all(frame[:, :15] < 0)
    assert torch.all(frame[:, 17:] > 0)


def test_scaling_without_antialiasing_interpolates_four_pixels() -> None:
    """As torchvision does it: in floating point, and back to whole numbers."""
    image = np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    frame = dataclasses.replace(CARD, antialias=False).preprocess(image)
    assert frame.std() > 1.2 * CARD.preprocess(image).std()
    whole = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(whole, (40, 50), mode="bilinear").round()[0, :, 4:36, 9:41]
    mean, std = torch.tensor(CARD.mean), torch.tensor(CARD.std)
    expected = (scaled / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(frame[0], expected)


def test_views_with_negative_strides_are_accepted() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    flipped = image[:, ::-1]
    torch.testing.assert_close(CARD.preprocess(flipped), CARD.preprocess(image).flip(-1))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_picture_are_refused(image: np.ndarray) -> None:
    with pytest.raises(InputShapeError, match="cannot preprocess this image"):
        CARD.preprocess(image)


def test_probabilities() -> None:
    logits = torch.tensor([[0.0, 0.0]])
    assert CARD.probabilities(logits).tolist() == [[0.5, 0.5]]
    sigmoid = ModelCard("s", 1, 1.0, 1, 1, (0, 0, 0), (1, 1, 1), activation="sigmoid")
    assert sigmoid.probabilities(torch.tensor([[0.0]])).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clip_frames", 0),
        ("clip_frames", 4.0),
        ("crop_px", True),
        ("crop_px", 41),  # more than short_side_px leaves of the picture
        ("short_side_px", None),
        ("rate_hz", 0),
        ("rate_hz", float("nan")),
        ("rate_hz", 10**400),
        ("mean", 0.45),
        ("mean", (0.45, 0.45)),
        ("mean", ("a", "b", "c")),
        ("std", (0.2, 0.0, 0.2)),
        ("resize_px", 40),
        ("resize_px", (40, 31)),
        ("labels", "labels.txt"),
        ("labels", (1, 2)),
        ("activation", "relu"),
    ],
)
def test_cards_of_users_are_validated(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=rf"card's (short_side_px|{name}) is .* expected"):
        dataclasses.replace(CARD, **{name: value})


def test_lists_become_tuples() -> None:
    card = dataclasses.replace(CARD, mean=[0, 0, 0], resize_px=[40, 40], labels=["a", "b"])
    assert (card.mean, card.resize_px, card.labels) == ((0.0, 0.0, 0.0), (40, 40), ("a", "b"))
    assert hash(card) == hash(dataclasses.replace(card))
