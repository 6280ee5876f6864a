"""Common parts of the residual networks: the shortcut, and the initialisation."""

from collections.abc import Iterable

from torch import Tensor, nn


class Shortcut(nn.Module):
    """Strided convolution and norm that bring a residual to the shape of the branch.

    Args:
        conv: the convolution. channels: out of it.
    """

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, ...), each axis divided by its stride, rounded up."""
        return self.norm(self.conv(x))


def make_shortcut(
    in_channels: int, channels: int, stride: tuple[int, int, int]
) -> Shortcut | nn.Identity:
    """The shortcut of a block: a pointwise convolution, or the identity where the shape stays."""
    if stride == (1, 1, 1) and in_channels == channels:
        return nn.Identity()
    return Shortcut(nn.Conv3d(in_channels, channels, 1, stride, bias=False), channels)


def initialise(model: nn.Module, branch_ends: Iterable[nn.BatchNorm3d]) -> None:
    """Initialise as the published trainings do (PySlowFast and PyTorchVideo, `init_weights`).

    Convolutions: He normal by fan-out, zero bias (arXiv:1502.01852). Classifier: normal, standard
    deviation 0.01. Each residual branch starts at zero, by the scale of its last norm
    (arXiv:1706.02677).

    Args:
        model: the network.
        branch_ends: the last norm of each residual branch to initialise to zero.
    """
    if next(model.parameters()).is_meta:  # has shapes only
        return
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    for norm in branch_ends:
        nn.init.zeros_(norm.weight)
