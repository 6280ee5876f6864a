"""Procedural pictures: unlimited variety where photographs are few. Each is (S, S, 3) in [0, 1]."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

Texture = Callable[[int, Generator], np.ndarray]


def fractal_noise(size_px: int, random: Generator) -> np.ndarray:
    """Noise whose amplitude falls as a random power of spatial frequency, as in nature."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size_px), np.fft.rfftfreq(size_px)))
    spectrum = np.fft.rfft2(random.standard_normal((3, size_px, size_px)))
    shaped = spectrum / np.maximum(frequency.T, 1 / size_px) ** random.uniform(0.6, 1.8)
    noise = np.fft.irfft2(shaped, s=(size_px, size_px))
    grey = random.uniform()
    noise = grey * noise.mean(0) + (1 - grey) * noise
    return _stretch(noise.transpose(1, 2, 0))


def voronoi(size_px: int, random: Generator) -> np.ndarray:
    """Cells of flat colour around random points, sometimes shaded by distance."""
    count = int(random.integers(12, 150))
    centres = random.uniform(0, size_px, (count, 2))
    rows, columns = np.mgrid[:size_px, :size_px]
    distance = (rows[..., None] - centres[:, 0]) ** 2 + (columns[..., None] - centres[:, 1]) ** 2
    picture = random.uniform(0, 1, (count, 3))[distance.argmin(-1)]
    if random.uniform() < 0.5:
        shade = np.sqrt(distance.min(-1))
        picture = picture * (1 - 0.8 * shade / shade.max())[..., None]
    return picture


def stripes(size_px: int, random: Generator) -> np.ndarray:
    """Two warped gratings in different directions (one alone would hide motion along it)."""
    warp = fractal_noise(size_px, random)
    rows, columns = np.mgrid[:size_px, :size_px] / size_px
    first = random.uniform(0, np.pi)
    picture = np.zeros((size_px, size_px, 3))
    for angle in (first, first + random.uniform(0.8, 2.3)):
        cycles, bend = random.uniform(4, 24), random.uniform(0, 1.5)
        phase = cycles * (rows * np.sin(angle) + columns * np.cos(angle)) + bend * warp[..., 0]
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * phase)
        wave = wave if random.uniform() < 0.5 else (wave > 0.5).astype(float)
        picture += wave[..., None] * random.uniform(0, 1, 3)
    return _stretch(picture)


def polygons(size_px: int, random: Generator) -> np.ndarray:
    """Overlapping polygons and ellipses on a soft background."""
    backdrop = _colour(random) if random.uniform() < 0.5 else None
    base = (
        255 * fractal_noise(size_px, random)
        if backdrop is None
        else np.full((size_px, size_px, 3), backdrop)
    )
    image = Image.fromarray(base.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(8, 60))):
        x, y = random.uniform(0, size_px, 2)
        radius = size_px * random.uniform(0.02, 0.2)
        if random.uniform() < 0.4:
            tall = radius * random.uniform(0.3, 1)
            draw.ellipse((x - radius, y - tall, x + radius, y + tall), fill=_colour(random))
        else:
            turns = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 7))))
            corners = [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in turns]
            draw.polygon(corners, fill=_colour(random))
    return np.asarray(image) / 255


def writing(size_px: int, random: Generator) -> np.ndarray:
    """Lines of random letters, as on a page or a sign."""
    paper, ink = _colour(random), _colour(random)
    image = Image.new("RGB", (size_px, size_px), paper)
    draw = ImageDraw.Draw(image)
    y = 0.0
    while y < size_px:
        letters = random.choice(list("abcdefghijklmnopqrstuvwxyz  EHKMTAX0123456789"), 60)
        height = float(random.uniform(9, 28))
        draw.text((random.uniform(-30, 4), y), "".join(letters), fill=ink, font_size=height)
        y += height * random.uniform(1.0, 1.8)
    return np.asarray(image) / 255


def islands(size_px: int, random: Generator) -> np.ndarray:
    """Bright, detailed patches in darkness, as when a lamp lights a part of a night scene."""
    detail = random.choice(np.array([polygons, voronoi, fractal_noise]))(size_px, random)
    rows, columns = np.mgrid[:size_px, :size_px] / size_px
    light = np.zeros((size_px, size_px))
    for _ in range(int(random.integers(12, 40))):
        y, x, radius = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.04, 0.13)
        light += np.exp(-((((rows - y) ** 2 + (columns - x) ** 2) / radius**2) ** 2))
    dark = random.uniform(0, 0.1)
    return dark + (1 - dark) * detail * np.minimum(light, 1)[..., None]


TEXTURES: tuple[Texture, ...] = (
    fractal_noise,
    voronoi,
    stripes,
    polygons,
    writing,
    islands,
)


def _colour(random: Generator) -> tuple[int, int, int]:
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _stretch(picture: np.ndarray) -> np.ndarray:
    low, high = np.percentile(picture, (1, 99))
    return np.clip((picture - low) / max(high - low, 1e-6), 0, 1)
