"""Photographs that permissively licensed packages already ship, in three fixed splits.

A split is a list of whole photographs: no part of a held-out picture is ever trained on.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from co3d.errors import OptionError, SourceNotFoundError
from co3d.packages import extra_command

# Package -> folder of its pictures. The files are read without importing the package.
_FOLDERS = {
    "skimage": "data",
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data/sample_data",
    "pywt": "data",
}

PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "train": (
        "pywt/aero.npz",
        "pywt/ascent.npz",
        "skimage/brick.png",
        "skimage/coins.png",
        "skimage/grass.png",
        "skimage/gravel.png",
        "skimage/hubble_deep_field.jpg",
        "skimage/ihc.png",
        "skimage/logo.png",
        "skimage/moon.png",
        "skimage/motorcycle_left.png",
        "skimage/motorcycle_right.png",
        "skimage/page.png",
        "skimage/retina.jpg",
        "skimage/text.png",
        "sklearn/china.jpg",
    ),
    "validation": ("skimage/camera.png", "skimage/chelsea.png"),
    "test": (
        "matplotlib/grace_hopper.jpg",
        "skimage/astronaut.png",
        "skimage/coffee.png",
        "skimage/rocket.jpg",
        "sklearn/flower.jpg",
    ),
}


def photographs_of(split: str) -> tuple[str, ...]:
    """Names of the photographs of "train", "validation" or "test"."""
    if split not in PHOTOGRAPHS:
        raise OptionError(
            f"cannot list photographs: got split {split!r}, expected one of "
            f"{', '.join(PHOTOGRAPHS)}; choose one of these"
        )
    return PHOTOGRAPHS[split]


def load_photograph(name: str) -> np.ndarray:
    """Read a photograph by the name it has in `PHOTOGRAPHS`: (H, W, 3) uint8 RGB.

    Raises:
        SourceNotFoundError: the package that ships it is not installed.
    """
    package, file = name.split("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SourceNotFoundError(
            f"cannot read photograph {name}: package {package} is not installed; "
            f"get it with: {extra_command('training')}"
        )
    path = Path(spec.origin).parent / _FOLDERS[package] / file
    if not path.is_file():
        raise SourceNotFoundError(
            f"cannot read photograph {name}: {path} does not exist; "
            f"install a version of {package} that ships it"
        )
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return np.repeat(archive["data"][..., None], 3, axis=2)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
