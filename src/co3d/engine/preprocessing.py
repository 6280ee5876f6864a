"""Turns pictures into network frames, with a kernel in one pass where there is one."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from co3d.backends.native.pictures import PictureKernel, PlannedPicture
from co3d.models import ModelCard

VALUES = 256  # of a pixel in one colour


class Preprocessor:
    """Computes `card.preprocess`, bit for bit, but faster.

    The native kernel makes a frame in one pass, skips pixels outside the crop and releases the GIL.
    For a picture of 640 by 360 pixels it takes 0.17 ms where PyTorch takes 0.51 ms (X3D-S), and
    0.12 ms instead of 0.20 ms (camera_motion).

    Args:
        card: how to prepare pictures.
        uses_kernel: whether to load the native backend's kernels, which may compile them.
    """

    def __init__(self, card: ModelCard, *, uses_kernel: bool) -> None:
        self._card = card
        self._kernel: PictureKernel | None = None
        if uses_kernel and card.antialias:  # without antialiasing PyTorch scales floats
            values = torch.arange(VALUES, dtype=torch.float32).expand(1, 3, 1, VALUES)
            self._kernel = PictureKernel(card.crop_px, card.normalise(values)[0, :, 0])

    def __call__(self, image: np.ndarray) -> Tensor:
        """See `ModelCard.preprocess`."""
        return self.make([self.plan(image)])

    def plan(self, image: np.ndarray) -> PlannedPicture | Tensor:
        """Plan a picture for `make`; without a kernel this is the frame itself, (1, 3, H, W).

        Raises:
            InputShapeError: the array is not an RGB picture of 8 bits per channel.
        """
        planned = None
        if self._kernel is not None:
            planned = self._kernel.plan(image, self._card.find_scaled_size(image))
        return self._card.preprocess(image) if planned is None else planned

    def make(self, planned: Sequence[PlannedPicture | Tensor]) -> Tensor:
        """Make frames (k, 3, H, W) of k planned pictures, in their order."""
        pictures = [one for one in planned if isinstance(one, PlannedPicture)]
        if self._kernel is None or not pictures:
            made = iter(())
        else:
            frames = self._kernel.prepare(pictures)
            if len(pictures) == len(planned):
                return frames
            made = iter(frames.split(1))
        rows = [next(made) if isinstance(one, PlannedPicture) else one for one in planned]
        return rows[0] if len(rows) == 1 else torch.cat(rows)
