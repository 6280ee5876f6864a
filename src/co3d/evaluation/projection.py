"""Project features to the plane by principal components or UMAP."""

import os
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from co3d.errors import OptionError
from co3d.packages import require_package

Projection = Literal["pca", "umap"]
LEAST_ROWS = 4
USUAL_NEIGHBOURS = 15


@dataclass(frozen=True, eq=False)
class Plane:
    """Rows projected to the plane.

    Attributes:
        coordinates: (R, 2).
        axes: the meaning of each of the two axes.
    """

    coordinates: Tensor
    axes: tuple[str, str]


def project(rows: Tensor, kind: Projection) -> Plane:
    """Project features (R, C), R >= 1.

    Raises:
        MissingPackageError: UMAP is not installed. OptionError: it has too few rows.
    """
    return project_pca(rows) if kind == "pca" else project_umap(rows)


def project_pca(rows: Tensor) -> Plane:
    """Principal components, with their shares of the variance; zeros if there is no second one."""
    centred = (rows - rows.mean(0)).double()
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    coordinates, shares = torch.zeros(len(rows), 2), torch.zeros(2)
    count = min(2, len(sizes))
    coordinates[:, :count] = (left[:, :count] * sizes[:count]).float()
    variance = sizes.square()
    if variance.sum() > 0:
        shares[:count] = (variance[:count] / variance.sum()).float()
    names = ("first principal component", "second")
    first, second = (
        f"{name}, {100 * share:.0f} % of the variance"
        for name, share in zip(names, shares.tolist(), strict=True)
    )
    return Plane(coordinates, (first, second))


NUMBA_SETTINGS = ".numba_config.yaml"
"""A settings file of Numba, which UMAP uses; Numba reads it from the working folder."""


def refuse_numba_settings() -> None:
    """Raise OptionError in a folder with Numba settings, which could load code for UMAP."""
    if os.path.lexists(NUMBA_SETTINGS):
        raise OptionError(
            f"cannot project by UMAP in a folder with {NUMBA_SETTINGS}, which says where code is "
            "loaded from; work in another folder, or use --projection pca"
        )


def project_umap(rows: Tensor) -> Plane:
    """UMAP (McInnes et al., arXiv:1802.03426), deterministic for the same rows."""
    if len(rows) < LEAST_ROWS:
        raise OptionError(
            f"cannot project {len(rows)} rows by UMAP, expected at least {LEAST_ROWS}; use "
            "--projection pca"
        )
    refuse_numba_settings()
    with warnings.catch_warnings():
        # umap warns that one part of it needs TensorFlow, which is not used here.
        warnings.simplefilter("ignore", ImportWarning)
        package = require_package("umap", extra="umap")
    # With a seed umap uses one thread, and warns unless one is asked for.
    mapper = package.UMAP(
        n_neighbors=min(USUAL_NEIGHBOURS, len(rows) - 1), init="random", random_state=0, n_jobs=1
    )
    return Plane(torch.from_numpy(mapper.fit_transform(rows.numpy())), ("UMAP 1", "UMAP 2"))
