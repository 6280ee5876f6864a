"""Cache of canvases between runs, since drawing them takes half a minute."""

import contextlib
import hashlib
import inspect
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from co3d.datasets.generated import canvases, textures
from co3d.datasets.generated.photographs import load_photograph, photographs_of
from co3d.errors import OutputError
from co3d.kept_files import KeptFiles
from co3d.progress import open_progress

# The canvases of the bundled recipe take 140 MB (training) and 60 MB (validation).
_KEPT = KeptFiles("canvases", ".npy", most_files=4)
_DRAWN_BY = ("numpy", "pillow", "torch")


def read_or_build_canvases(
    split: str,
    seed: int = 0,
    crops_per_photograph: int = canvases.CROPS_PER_PHOTOGRAPH,
    textures_per_kind: int = canvases.TEXTURES_PER_KIND,
) -> Tensor:
    """Read the result of `build_canvases` from the cache, or compute and store it.

    The cache is the folder `canvases` of the platform's cache folder, or of `CO3D_CACHE`. Its key
    is made of the arguments, photographs, code and versions of the drawing packages. Of more than
    four files, the least recently used are removed.
    """
    amounts = (split, seed, crops_per_photograph, textures_per_kind)
    key = _fingerprint(*amounts)
    path = _KEPT.find(key)
    with contextlib.suppress(OSError):  # removed meanwhile
        if path is not None:
            return torch.from_numpy(np.load(path, allow_pickle=False))
    with open_progress("drawing pictures to film", "{task.elapsed:.0f} s") as display:
        display.add_task("", total=None)
        drawn = canvases.build_canvases(*amounts)
    # If the cache cannot be written, the canvases are drawn again next time.
    with contextlib.suppress(OSError, OutputError), _KEPT.make(key) as temporary:
        np.save(temporary, drawn.numpy(), allow_pickle=False)
    return drawn


def _fingerprint(split: str, *amounts: int) -> str:
    digest = hashlib.sha256(repr((split, amounts)).encode())
    digest.update(repr([(package, version(package)) for package in _DRAWN_BY]).encode())
    for module in (canvases, textures):
        digest.update(inspect.getsource(module).encode())
    for name in photographs_of(split):
        digest.update(load_photograph(name).tobytes())
    return digest.hexdigest()
