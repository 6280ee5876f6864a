"""Canvases, kept from one start to the next: drawing them takes half a minute."""

import contextlib
import hashlib
import inspect
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from co3d.datasets.generated import canvases, textures
from co3d.datasets.generated.photographs import load_photograph, photographs_of
from co3d.environment import cache_path
from co3d.files import forget_least_used, output_file
from co3d.progress import open_progress

# Those of the bundled recipe take 140 and 60 MB.
KEPT_FILES = 4
_DRAWN_BY = ("numpy", "pillow", "torch")


def read_or_build_canvases(
    split: str,
    seed: int = 0,
    crops_per_photograph: int = canvases.CROPS_PER_PHOTOGRAPH,
    textures_per_kind: int = canvases.TEXTURES_PER_KIND,
) -> Tensor:
    """As `build_canvases`, from the cache where the same canvases were drawn before.

    The cache is the folder `canvases` of the platform's folder for caches, or of the one that
    `CO3D_CACHE` names. The same are: the same arguments, photographs, code and versions of the
    packages that draw. The files that were used least recently go when there are more than
    `KEPT_FILES`.
    """
    amounts = (split, seed, crops_per_photograph, textures_per_kind)
    folder = cache_path() / "canvases"
    path = folder / f"{_fingerprint(*amounts)}.npy"
    try:
        found = torch.from_numpy(np.load(path, allow_pickle=False))
        path.touch()  # used just now
        return found
    except (OSError, EOFError, ValueError):  # not there, or not whole
        with open_progress("drawing pictures to film", "{task.elapsed:.0f} s") as display:
            display.add_task("", total=None)
            drawn = canvases.build_canvases(*amounts)
    # A cache that cannot be written costs time at the next start, and nothing else.
    with contextlib.suppress(OSError):
        _store(path, drawn)
    return drawn


def _fingerprint(split: str, *amounts: int) -> str:
    digest = hashlib.sha256(repr((split, amounts)).encode())
    digest.update(repr([(package, version(package)) for package in _DRAWN_BY]).encode())
    for module in (canvases, textures):
        digest.update(inspect.getsource(module).encode())
    for name in photographs_of(split):
        digest.update(load_photograph(name).tobytes())
    return digest.hexdigest()


def _store(path: Path, drawn: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with output_file(path) as temporary:
        np.save(temporary, drawn.numpy(), allow_pickle=False)
    forget_least_used(path.parent.glob("[!.]*.npy"), KEPT_FILES)
