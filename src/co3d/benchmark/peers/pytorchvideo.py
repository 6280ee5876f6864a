"""X3D's clip network as PyTorchVideo builds it (arXiv:2111.09887), which has no step form."""

from importlib import metadata
from typing import Any

from co3d.errors import OptionError
from co3d.models.clip_model import ClipModel
from co3d.models.x3d import X3D
from co3d.packages import import_package

DEPTH_FACTOR, DEEPER = 2.2, {"x3d_l": 5.0}


def build_clip_peer(model: ClipModel, size_px: int) -> Any:
    """The library's network of the same structure, with random weights.

    Args:
        model: an X3D.
        size_px: side of the square frames.

    Returns:
        A module on the model's device that takes a clip (N, 3, T, H, W) of the model's own length.

    Raises:
        OptionError: a network of another kind.
        MissingPackageError: the library is not installed, or cannot be imported.
    """
    library = import_library()
    if not isinstance(model, X3D):
        raise OptionError(
            f"cannot build {type(model).__name__} with pytorchvideo: expected an X3D; leave this "
            "peer out"
        )
    peer = library.create_x3d(
        input_clip_length=model.card.clip_frames,
        input_crop_size=size_px,
        depth_factor=DEEPER.get(model.card.name, DEPTH_FACTOR),
    )
    return peer.eval().to(next(model.parameters()).device)


def import_library() -> Any:
    """The library's module of X3D.

    Raises:
        MissingPackageError: it is not installed, or cannot be imported.
    """
    # It imports torchvision, which fails if it was compiled for another torch.
    return import_package(
        "pytorchvideo.models.x3d",
        install="pip install pytorchvideo, and a torchvision that fits torch",
    )


def library_version() -> str:
    """Version of the installed library."""
    return metadata.version("pytorchvideo")
