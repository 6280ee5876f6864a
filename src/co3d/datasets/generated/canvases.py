"""Canvases: the square pictures over which the virtual camera moves."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from co3d.datasets.generated.photographs import load_photograph, photographs_of
from co3d.datasets.generated.textures import TEXTURES, Texture

CANVAS_PX = 192
CROPS_PER_PHOTOGRAPH = 48
TEXTURES_PER_KIND = 80
SMALLEST_CROP = 0.3  # of the photograph's short side
# A canvas is kept if most of its 8 × 8 tiles show some contrast (standard deviation, of 1), because
# camera motion is invisible over a clear sky.
LEAST_CONTRAST = 0.04
LEAST_SHARE = 0.75
ATTEMPTS = 20

_SPLIT_SEEDS = {"train": 0, "validation": 1, "test": 2}


def build_canvases(
    split: str,
    seed: int = 0,
    crops_per_photograph: int = CROPS_PER_PHOTOGRAPH,
    textures_per_kind: int = TEXTURES_PER_KIND,
) -> Tensor:
    """Cut canvases from the photographs of a split and draw procedural ones beside them.

    Args:
        split: "train", "validation" or "test"; splits share neither photographs nor textures.
        seed: of the crops and textures.
        crops_per_photograph: canvases cut from each photograph.
        textures_per_kind: canvases drawn by each of the procedural textures.

    Returns:
        (M, 3, CANVAS_PX, CANVAS_PX) uint8.
    """
    names = photographs_of(split)
    random = np.random.default_rng((seed, _SPLIT_SEEDS[split]))
    canvases: list[Tensor] = []
    for name in names:
        photograph = torch.from_numpy(np.array(load_photograph(name))).permute(2, 0, 1)
        draw = partial(_crop, photograph, random)
        canvases += [_find_lively(draw) for _ in range(crops_per_photograph)]
    for texture in TEXTURES:
        draw = partial(_paint, texture, random)
        canvases += [_find_lively(draw) for _ in range(textures_per_kind)]
    return torch.stack(canvases)


def contrast_share(canvas: Tensor) -> float:
    """Share of a canvas's 8 × 8 tiles that show contrast: (3, S, S) uint8 -> 0 to 1."""
    side = canvas.shape[-1] // 8
    tiles = canvas.float().mean(0).div(255).unfold(0, side, side).unfold(1, side, side)
    return float((tiles.flatten(2).std(-1) > LEAST_CONTRAST).float().mean())


def _find_lively(draw: Callable[[], Tensor]) -> Tensor:
    """The first of some random canvases with enough contrast, or the best of them."""
    best, best_share = draw(), 0.0
    for _ in range(ATTEMPTS):
        candidate = draw()
        share = contrast_share(candidate)
        if share > best_share:
            best, best_share = candidate, share
        if share >= LEAST_SHARE:
            break
    return best


def _paint(texture: Texture, random: Generator) -> Tensor:
    return torch.from_numpy(texture(CANVAS_PX, random) * 255).permute(2, 0, 1).to(torch.uint8)


def _crop(photograph: Tensor, random: Generator) -> Tensor:
    height, width = photograph.shape[1:]
    side = int(min(height, width) * random.uniform(SMALLEST_CROP, 1.0))
    top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
    crop = photograph[None, :, top : top + side, left : left + side]
    size = (CANVAS_PX, CANVAS_PX)
    return F.interpolate(crop, size, mode="bilinear", antialias=True)[0]
