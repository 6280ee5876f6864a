"""The peers by name, and the networks of each, known without importing it."""

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
        run: takes a frame (N, 3, H, W) or a clip (N, 3, T, H, W), depending on the peer.
        count_state_bytes: bytes carried from frame to frame, once it has run a frame.
    """

    description: str
    run: Callable[[Tensor], object]
    count_state_bytes: Callable[[], int]


@dataclass(frozen=True)
class Peer:
    """Another library.

    Attributes:
        what: "step" if it takes one frame at a time, "clip" if it takes clips.
        networks: our classes of which it has, or can build, the counterpart.
        require: imports it; MissingPackageError if that fails.
        open: builds the counterpart of a model that is available (see below), on its device,
            for square frames of a side in pixels and a window of feature frames.
    """

    what: Literal["step", "clip"]
    networks: tuple[type[ClipModel], ...]
    require: Callable[[], object]
    open: Callable[[ClipModel, int, int], OpenPeer]

    def reason_unavailable(self, model: ClipModel, program: StepProgram) -> str | None:
        """Why it cannot run what the program does; None if it can."""
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
