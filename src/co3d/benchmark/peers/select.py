"""The peers by name: what each has, known without importing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from co3d.compiler import StepProgram
from co3d.models import ClipModel
from co3d.models.i3d import I3D
from co3d.models.slow import Slow
from co3d.models.x3d import X3D


@dataclass(frozen=True)
class OpenPeer:
    """A network of another library, ready to run.

    Attributes:
        description: the library and its version.
        run: takes a frame (N, 3, H, W), or a clip (N, 3, T, H, W) by what the peer is.
        count_state_bytes: carried from frame to frame, once it has seen one.
    """

    description: str
    run: Callable[[Tensor], object]
    count_state_bytes: Callable[[], int]


@dataclass(frozen=True)
class Peer:
    """Another library.

    Attributes:
        what: "step" when it sees one frame at a time, "clip" when it sees clips.
        networks: classes of ours of which it has, or its layers make, the counterpart.
        require: imports it; MissingPackageError where that fails.
        open: builds the counterpart of a model that `complain` finds nothing against, on its
            device, for square frames of a side in pixels and a window of feature frames.
    """

    what: Literal["step", "clip"]
    networks: tuple[type[ClipModel], ...]
    require: Callable[[], object]
    open: Callable[[ClipModel, int, int], OpenPeer]

    def complain(self, model: ClipModel, program: StepProgram) -> str | None:
        """Why it cannot do what the program does; None where it can."""
        if not isinstance(model, self.networks):
            return f"does not have {type(model).__name__}"
        if self.what == "step" and program.temporal_stride > 1 and program.rate == "dense":
            return "has no dense rate beside a temporal stride; use --rate native"
        return None


def _require_continual_inference() -> object:
    from co3d.benchmark.peers.continual_inference import library_version

    return library_version()


def _open_continual_inference(model: ClipModel, size_px: int, window: int) -> OpenPeer:
    from co3d.benchmark.peers import continual_inference

    peer = continual_inference.build_peer(model, size_px, window)
    return OpenPeer(
        f"continual-inference {continual_inference.library_version()}, torch {torch.__version__}",
        peer.forward_step,
        lambda: continual_inference.count_state_bytes(peer),
    )


def _require_pytorchvideo() -> object:
    from co3d.benchmark.peers.pytorchvideo import import_library

    return import_library()


def _open_pytorchvideo(model: ClipModel, size_px: int, window: int) -> OpenPeer:
    from co3d.benchmark.peers import pytorchvideo

    del window  # a clip network pools the whole clip
    return OpenPeer(
        f"pytorchvideo {pytorchvideo.library_version()}, torch {torch.__version__}",
        pytorchvideo.build_clip_peer(model, size_px),
        lambda: 0,
    )


PEERS: Mapping[str, Peer] = {
    "continual-inference": Peer(
        "step", (X3D, Slow, I3D), _require_continual_inference, _open_continual_inference
    ),
    "pytorchvideo": Peer("clip", (X3D,), _require_pytorchvideo, _open_pytorchvideo),
}
