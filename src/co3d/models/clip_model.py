"""The base class of registered networks: a card, and a check of the input clip."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor, nn

from co3d.errors import InputShapeError
from co3d.models.card import ModelCard


class ClipModel(nn.Module):
    """A network from a clip (N, 3, T, H, W) to logits (N, K).

    Attributes:
        card: how the network must be fed; set by `create_model`.
        min_side_px: the least height and width that the network takes.
        min_frames: the least number of frames in a clip.
        refused_formats: title of a key map -> why files with such keys belong to another network,
            although all of their tensors fit.
    """

    card: ModelCard
    min_side_px: int = 1
    min_frames: int = 1
    refused_formats: Mapping[str, str] = MappingProxyType({})

    def check_clip(self, clip: Tensor) -> None:
        """Refuse all but (N, 3, T, H, W) with N >= 1, T >= `min_frames`, H, W >= `min_side_px`.

        Raises:
            InputShapeError: naming the shape that was given and the one that is needed.
        """
        side = self.min_side_px
        if clip.ndim != 5 or clip.shape[1] != 3:
            raise InputShapeError(
                f"{type(self).__name__} cannot take this clip: got shape {tuple(clip.shape)}, "
                "expected (N, 3, T, H, W): batch, RGB, frames, height, width"
            )
        if clip.shape[0] < 1 or clip.shape[2] < self.min_frames:
            raise InputShapeError(
                f"{type(self).__name__} cannot take this clip: got shape {tuple(clip.shape)}, "
                f"expected N >= 1 clips of T >= {self.min_frames} frames"
            )
        if clip.shape[3] < side or clip.shape[4] < side:
            raise InputShapeError(
                f"{type(self).__name__} cannot take {clip.shape[3]}x{clip.shape[4]} px frames: "
                f"the least is {side}x{side} px; scale the frames up"
            )
