from dataclasses import replace

import numpy as np
import pytest
import torch

from co3d.datasets import augmentations
from co3d.datasets.mixing import cut_mix, mix_up
from co3d.datasets.transforms import TestTransform, TrainTransform, place_crop
from co3d.errors import InputShapeError, OptionError
from co3d.models.registry import get_card

CARD = replace(get_card("x3d_m"), crop_px=48, short_side_px=56)
RESIZED = replace(get_card("r2plus1d_18"), crop_px=40, resize_px=(44, 60))


def clip(height=70, width=90, frames=4, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (frames, height, width, 3), np.uint8)


def still(height=70, width=90, frames=4) -> np.ndarray:
    return np.repeat(clip(height, width, 1), frames, axis=0)


@pytest.mark.parametrize("card", [CARD, RESIZED])
@pytest.mark.parametrize("size", [(70, 90), (90, 70), (56, 56), (41, 200)])
def test_the_test_transform_is_the_cards(card, size):
    frames = clip(*size)
    got = TestTransform(card)(frames)
    expected = torch.stack([card.preprocess(image)[0] for image in frames], 1)
    assert got.shape == (3, 4, card.crop_px, card.crop_px)
    assert got.is_contiguous()
    assert torch.equal(got, expected)


@pytest.mark.parametrize("size", [(70, 140), (140, 70)])
def test_three_crops_cover_the_longer_side(size):
    frames = clip(*size)
    crops = [TestTransform(CARD)(frames, crop) for crop in range(3)]
    assert {tuple(crop.shape) for crop in crops} == {(3, 4, 56, 56)}
    axis = 3 if size[1] > size[0] else 2
    joined = torch.cat([crops[0], crops[2]], axis)
    whole = TestTransform(replace(CARD, crop_px=56))(frames)
    middle = joined.narrow(axis, 28, 56)
    assert torch.equal(crops[1], middle)
    assert torch.equal(crops[1], whole)


def test_odd_margins_are_split_as_pyslowfast_does():
    assert place_crop(100, 105, 100, 1) == (0, 3)  # ceil
    assert place_crop(105, 100, 100, 2) == (5, 0)
    assert place_crop(101, 105, 100, None) == (0, 2)  # the card's floor


def test_training_differs_from_draw_to_draw_and_follows_the_seed():
    transform = TrainTransform(CARD, brightness=0.4, contrast=0.4, saturation=0.4, operations=2)

    def draw(seed):
        torch.manual_seed(seed)
        return transform(clip())

    results = [draw(seed) for seed in range(8)]
    assert {tuple(result.shape) for result in results} == {(3, 4, 48, 48)}
    assert torch.equal(results[3], draw(3))
    assert len({float(result.sum()) for result in results}) == 8
    assert all(result.isfinite().all() for result in results)


@pytest.mark.parametrize("seed", range(12))
def test_all_frames_of_a_clip_are_changed_alike(seed):
    torch.manual_seed(seed)
    transform = TrainTransform(CARD, brightness=0.5, contrast=0.5, saturation=0.5, operations=3)
    result = transform(still())
    assert torch.equal(result, result[:, :1].expand_as(result))


def test_scale_crop_and_flip_are_drawn_from_their_ranges():
    ramp = np.zeros((2, 70, 140, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 140)
    ramp[..., 1] = np.linspace(0, 255, 70)[:, None]
    plain = TrainTransform(CARD, flip_probability=0.0)
    mirrored = TrainTransform(CARD, flip_probability=1.0)
    slopes, lefts = [], []
    for seed in range(40):
        torch.manual_seed(seed)
        row = plain(ramp)[0, 0, 20]
        slopes.append(float(row[40] - row[8]))
        lefts.append(float(row[0]))
        torch.manual_seed(seed)
        assert torch.equal(mirrored(ramp).flip(-1), plain_again(plain, ramp, seed))
    assert min(slopes) > 0
    assert max(slopes) / min(slopes) > 1.15  # scales from 56 to 70
    assert np.ptp(lefts) > 1


def plain_again(transform, frames, seed):
    torch.manual_seed(seed)
    return transform(frames)


def test_flips_come_as_often_as_asked():
    torch.manual_seed(0)
    ramp = np.zeros((1, 56, 56, 3), np.uint8)
    ramp[:] = np.linspace(0, 255, 56)[None, None, :, None].astype(np.uint8)
    transform = TrainTransform(CARD, short_sides_px=(56, 56), flip_probability=0.25)
    flipped = sum(float(r[0, 0, 0, 0] - r[0, 0, 0, -1]) > 0 for r in map(transform, [ramp] * 400))
    assert 70 < flipped < 130


@pytest.mark.parametrize(
    "values",
    [
        {"short_sides_px": (40, 60)},
        {"short_sides_px": (60, 50)},
        {"flip_probability": 1.5},
        {"brightness": -0.1},
        {"operations": -1},
        {"magnitude": 11},
    ],
)
def test_impossible_augmentations_are_refused(values):
    with pytest.raises(OptionError):
        TrainTransform(CARD, **values)


@pytest.mark.parametrize("bad", [np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 3), np.float32)])
def test_other_arrays_are_refused(bad):
    for transform in (TestTransform(CARD), TrainTransform(CARD)):
        with pytest.raises(InputShapeError, match="expected \\(T, H, W, 3\\)"):
            transform(bad)


def planes(frames=3) -> torch.Tensor:
    return torch.from_numpy(clip(24, 32, frames)).permute(0, 3, 1, 2).float()


def test_colour_changes_of_factor_one_change_nothing():
    for change in ("brighten", "change_contrast", "saturate", "sharpen"):
        torch.testing.assert_close(getattr(augmentations, change)(planes(), 1.0), planes())


def test_colour_changes_of_factor_zero_are_black_grey_and_blur():
    x = planes()
    assert augmentations.brighten(x, 0).max() == 0
    assert augmentations.change_contrast(x, 0).std() < 1e-3
    grey = augmentations.saturate(x, 0)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    assert augmentations.sharpen(x, 0).std() < 0.7 * x.std()


def test_equalised_values_are_evenly_spread():
    dark = planes(8) / 8
    spread = augmentations.equalise(dark, 0)
    counts = torch.histc(spread[:, 1], 4, 0, 255)
    assert (counts / counts.sum() - 0.25).abs().max() < 0.05
    flat = torch.full((2, 3, 4, 4), 7.0)
    assert augmentations.equalise(flat, 0).isfinite().all()
    torch.testing.assert_close(augmentations.stretch_contrast(flat, 0), flat)
    assert augmentations.stretch_contrast(dark, 0).amax() == pytest.approx(255)


def test_bits_and_thresholds():
    x = planes()
    assert torch.equal(augmentations.posterise(x, 0), x)
    assert len(augmentations.posterise(x, 1).unique()) == 16
    torch.testing.assert_close(augmentations.solarise(x, 0), x)
    torch.testing.assert_close(augmentations.solarise(x, 1), 255 - x)


def test_warps_move_and_turn():
    x = planes()
    torch.testing.assert_close(augmentations.warp(x, [[1, 0, 0], [0, 1, 0]]), x, atol=0.01, rtol=0)
    moved = augmentations.warp(x, [[1, 0, 2 * 4 / 32], [0, 1, 0]])
    torch.testing.assert_close(moved[..., :-4], x[..., 4:], atol=0.01, rtol=0)
    turned = augmentations.warp(x[..., :24], [[0, -1, 0], [1, 0, 0]])
    expected = x[..., :24].rot90(1, (2, 3)), x[..., :24].rot90(-1, (2, 3))
    assert min(float((turned - e).abs().max()) for e in expected) < 0.01


def test_every_operation_of_rand_augment_does_something_at_full_strength():
    for number, operation in enumerate(augmentations.OPERATIONS):
        torch.manual_seed(number)
        out = operation(planes() * 0.8 + 10, 1.0)
        assert out.shape == (3, 3, 24, 32)
        assert not torch.allclose(out, planes() * 0.8 + 10), operation
        assert out.min() >= -1e-3
        assert out.max() <= 255.001


def test_mix_up_blends_clips_and_targets_by_one_share():
    torch.manual_seed(0)
    clips = torch.zeros(2, 3, 4, 8, 8)
    clips[1] = 1
    mixed, targets = mix_up(clips, torch.eye(2))
    share = float(mixed[1, 0, 0, 0, 0])
    assert 0 < share < 1
    assert float(mixed[1].std()) < 1e-6
    torch.testing.assert_close(targets, torch.tensor([[share, 1 - share], [1 - share, share]]))


@pytest.mark.parametrize("seed", range(5))
def test_cut_mix_shares_targets_by_what_the_box_covers(seed):
    torch.manual_seed(seed)
    clips = torch.zeros(2, 3, 4, 20, 30)
    clips[1] = 1
    mixed, targets = cut_mix(clips, torch.eye(2))
    covered = float(mixed[0].mean())
    assert torch.equal(mixed[0], mixed[0, :1, :1].expand_as(mixed[0]))
    torch.testing.assert_close(targets[0], torch.tensor([1 - covered, covered]))
    assert clips[0].sum() == 0


def test_mixing_needs_shares_and_a_positive_alpha():
    clips = torch.zeros(2, 3, 1, 2, 2)
    with pytest.raises(OptionError, match="one-hot"):
        mix_up(clips, torch.tensor([0, 1]))
    with pytest.raises(OptionError, match="above 0"):
        cut_mix(clips, torch.eye(2), alpha=0)
