"""CoX3D, CoSlow and CoI3D with the layers of continual-inference (arXiv:2204.03418).

The library has no networks; these are built from its layers with the structure and weights of ours,
and run one frame at a time (arXiv:2106.00050). As in its publications, normalisation stays a
separate layer, and squeeze-and-excitation uses the current frame only.
"""

import copy
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from co3d.errors import OptionError
from co3d.models.clip_model import ClipModel
from co3d.models.head import Join, join_positions
from co3d.models.i3d import I3D
from co3d.models.residual import Shortcut
from co3d.models.resnet3d import Bottleneck as ResNetBottleneck
from co3d.models.resnet3d import Stem as ResNetStem
from co3d.models.slow import Slow
from co3d.models.x3d import X3D
from co3d.models.x3d import Bottleneck as X3DBottleneck
from co3d.packages import import_package

SUPPORTED = (X3D, Slow, I3D)


def build_peer(model: ClipModel, size_px: int, window: int) -> Any:
    """Rebuild a clip network with the library's layers and the same weights.

    Args:
        model: an X3D, Slow or I3D.
        size_px: side of the square frames.
        window: feature frames that the last pool averages, sliding.

    Returns:
        A module on the model's device, whose `forward_step` takes a frame (N, 3, H, W) and returns
        logits (N, K), or None while it fills, and for I3D at every second frame.

    Raises:
        OptionError: a network of another kind.
        MissingPackageError: the library is not installed, or cannot be imported.
    """
    co = _import_library()
    side = -(-size_px // model.min_side_px)
    if isinstance(model, X3D):
        head, pool = model.head, _make_pool(co, window, min(model.head.pool_side, side))
        expand = [_convert(co, head.expand), _convert(co, head.expand_norm), nn.ReLU()]
        hidden = [_convert(co, head.hidden), nn.ReLU()]
        classify = co.Lambda(Classify(head.classifier, "probabilities"))
        layers = [_make_x3d_stem(co, model), *_make_stages(co, model.stages)]
        layers += [*expand, pool, *hidden, classify]
    elif isinstance(model, (Slow, I3D)):
        trunk, head = model.trunk, model.head
        stages = [trunk.res2, trunk.res3, trunk.res4, trunk.res5]
        layers = [_make_resnet_stem(co, trunk.stem), *_make_stages(co, stages)]
        if isinstance(model, I3D):
            layers.insert(2, co.MaxPool3d((2, 1, 1), (2, 1, 1)))
        layers += [
            _make_pool(co, window, min(head.pool_side or side, side)),
            co.Lambda(Classify(head.classifier, head.join)),
        ]
    else:
        raise OptionError(
            f"cannot build {type(model).__name__} with continual-inference: expected one of "
            f"{', '.join(kind.__name__ for kind in SUPPORTED)}"
        )
    return co.Sequential(*layers).eval().to(next(model.parameters()).device)


def count_state_bytes(peer: Any) -> int:
    """Bytes that a peer carries from step to step, for its whole batch."""
    buffers = peer.named_buffers()
    return sum(b.numel() * b.element_size() for name, b in buffers if name.endswith("state_buffer"))


class Classify(nn.Module):
    """The classifier for the pooled features of one frame: (N, C, h, w) -> (N, K)."""

    def __init__(self, classifier: nn.Linear, join: Join) -> None:
        super().__init__()
        self.classifier = classifier
        self.join: Join = join

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, K)."""
        return join_positions(x.unsqueeze(2), self.classifier, self.join)


def library_version() -> str:
    """Version of the installed library.

    Raises:
        MissingPackageError: it is not installed, or cannot be imported.
    """
    return str(_import_library().__version__)


def _import_library() -> Any:
    with _without_lightning():
        return import_package("continual", install="pip install continual-inference")


@contextmanager
def _without_lightning() -> Iterator[None]:
    """Hide pytorch_lightning from the library, unless it is already imported.

    The library only uses it for the rank of the process, but this imports torchvision, which fails
    if it was compiled for another torch.
    """
    name = "pytorch_lightning"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _convert(co: Any, layer: nn.Module) -> Any:
    """One layer of ours as a layer of the library, with the same weights."""
    if isinstance(layer, nn.Conv3d):
        return co.Conv3d.build_from(layer)
    return co.forward_stepping(copy.deepcopy(layer))


def _make_x3d_stem(co: Any, model: X3D) -> Any:
    stem = model.stem
    return co.Sequential(
        *(_convert(co, x) for x in (stem.conv_s, stem.conv_t, stem.norm)), nn.ReLU()
    )


def _make_resnet_stem(co: Any, stem: ResNetStem) -> Any:
    layers = (stem.conv, stem.norm, nn.ReLU(), stem.pool)
    return co.Sequential(*(_convert(co, layer) for layer in layers))


def _make_stages(co: Any, stages: Iterable[nn.Module]) -> list[Any]:
    return [
        co.Sequential(*(_make_block(co, block) for block in stage.children())) for stage in stages
    ]


def _make_block(co: Any, block: nn.Module) -> Any:
    """A residual block: the branch, in parallel a matching delay, then their sum."""
    if isinstance(block, X3DBottleneck):
        excite = [] if isinstance(block.excite, nn.Identity) else [block.excite]
        layers = [block.expand, block.expand_norm, nn.ReLU(), block.depthwise]
        layers += [block.depthwise_norm, *excite, nn.SiLU(), block.project, block.project_norm]
    else:
        assert isinstance(block, ResNetBottleneck)
        layers = [block.reduce, block.reduce_norm, nn.ReLU(), block.spatial, block.spatial_norm]
        layers += [nn.ReLU(), block.expand, block.expand_norm]
    branch = co.Sequential(*(_convert(co, layer) for layer in layers))
    shortcut = block.shortcut
    if isinstance(shortcut, Shortcut):
        beside = co.Sequential(_convert(co, shortcut.conv), _convert(co, shortcut.norm))
        joined = co.BroadcastReduce(beside, branch, reduce="sum")
    else:
        joined = co.Residual(branch)
    return co.Sequential(joined, nn.ReLU())


def _make_pool(co: Any, window: int, side: int) -> Any:
    return co.AvgPool3d((window, side, side), stride=1)
