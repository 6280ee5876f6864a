"""A network cut after a layer: clips in, the layer's features out.

The cut network is an ordinary clip network: the compiler drops what follows the layer, and its step
program gives the layer's features frame by frame, on any backend.
"""

import difflib
from typing import Any

from torch import Tensor, nn

from co3d.errors import OptionError


class LayerFeatures(nn.Module):
    """Clip (N, 3, T, H, W) -> features of a layer, averaged over height and width.

    The features are (N, C, T'), or (N, C) for a layer without a time axis.

    Args:
        model: the network. It is not changed, and shares its weights.
        layer: path of a module in it, as `named_modules` spells it.

    Raises:
        OptionError: there is no such layer; the message names the nearest.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        names = [name for name, _ in model.named_modules() if name]
        if layer not in names:
            nearest = difflib.get_close_matches(layer, names, n=3, cutoff=0.3)
            tops = [name for name, _ in model.named_children()]
            raise OptionError(
                f"no layer {layer!r}: did you mean {' or '.join(nearest or tops)}? "
                f"The first level has {', '.join(tops)}"
            )
        self.model = model
        self.layer = layer

    def forward(self, clip: Tensor) -> Tensor:
        """Run the network, and return what the layer's last call gave."""
        given: list[Any] = []
        module = self.model.get_submodule(self.layer)
        hook = module.register_forward_hook(lambda _module, _inputs, output: given.append(output))
        try:
            self.model(clip)
        finally:
            hook.remove()
        return _average(given, self.layer)


def _average(given: list[Any], layer: str) -> Tensor:
    if not given:
        raise OptionError(f"cannot take features of layer {layer!r}: the network never calls it")
    output = given[-1]
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 5):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise OptionError(
            f"cannot take features of layer {layer!r}: it gives {shape}, expected one tensor "
            "(N, C, T, H, W), (N, C, T) or (N, C); name a layer before or after it"
        )
    return output.mean((3, 4)) if output.ndim == 5 else output
