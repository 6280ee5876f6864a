"""Golden counts: parameters, and multiply-accumulates at the training and the test crop."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from co3d.models import create_model

# Model, parameters, frames, GMAC of a clip per crop in pixels.
SIZES = [
    ("x3d_xs", 3_794_322, 4, {160: 0.605, 182: 0.844}),
    ("x3d_s", 3_794_322, 13, {160: 1.963, 182: 2.727}),
    ("x3d_m", 3_794_322, 16, {224: 4.733, 256: 6.186}),
    ("x3d_l", 6_153_432, 16, {312: 18.37, 356: 24.78}),
    ("i3d_r50", 28_043_472, 8, {224: 28.41, 256: 37.11}),
    ("i3d_r50_32x2", 28_043_472, 32, {224: 33.13, 256: 43.27}),
    ("slowfast_r50_8x8", 34_566_488, 32, {224: 50.31, 256: 65.71}),
    ("slowfast_r50_4x16", 34_480_216, 32, {224: 27.64, 256: 36.10}),
    ("slowfast_r50_8x8_mmaction", 34_565_560, 32, {224: 50.31, 256: 65.71}),
    ("slowfast_r50_4x16_mmaction", 34_479_288, 32, {224: 27.64, 256: 36.10}),
    ("slow_r50", 32_454_096, 8, {224: 41.74, 256: 54.52}),
    ("r2plus1d_18", 31_505_325, 8, {112: 20.26}),
    ("r2plus1d_18", 31_505_325, 16, {112: 40.52}),
    ("r2plus1d_r50", 28_107_600, 16, {256: 75.15}),
    ("r2plus1d_r34_8x8", 63_759_281, 8, {224: 40.56, 256: 52.98}),
]


@pytest.mark.parametrize(("name", "parameters", "frames", "giga_macs"), SIZES)
def test_the_number_of_parameters_is_the_published_one(
    name: str, parameters: int, frames: int, giga_macs: dict[int, float]
) -> None:
    with torch.device("meta"):  # shapes without memory
        model = create_model(name, weights="random")
        assert sum(p.numel() for p in model.parameters()) == parameters
        for crop_px, expected in giga_macs.items():
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.empty(1, 3, frames, crop_px, crop_px))
            assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=1e-3)


def test_charades_has_157_classes() -> None:
    with torch.device("meta"):
        model = create_model("slow_r50", weights="random", num_classes=157)
    assert sum(p.numel() for p in model.parameters()) == 31_956_189
