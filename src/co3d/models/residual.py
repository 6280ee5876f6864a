"""What the residual networks share: the shortcut, and the values that training starts from."""

from collections.abc import Iterable

from torch import Tensor, nn


class Shortcut(nn.Module):
    """Strided pointwise convolution that brings a residual to the shape of the branch."""

    def __init__(self, in_channels: int, channels: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, channels, 1, stride, bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, ...), each axis divided by its stride, rounded up."""
        return self.norm(self.conv(x))


def initialise(model: nn.Module, branch_ends: Iterable[nn.BatchNorm3d]) -> None:
    """Initialise as the published trainings do (PySlowFast and PyTorchVideo, `init_weights`).

    Convolutions: He normal by fan-out, zero bias (arXiv:1502.01852). Classifier: normal, standard
    deviation 0.01. Each residual branch starts at zero, that is with the scale of its last norm
    (arXiv:1706.02677).

    Args:
        model: the network.
        branch_ends: the last norm of each residual branch that shall start at zero.
    """
    if next(model.parameters()).is_meta:  # of shapes alone
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
