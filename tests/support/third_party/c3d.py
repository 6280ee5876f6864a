"""Plain 3D convolutions with a fully connected head (arXiv:1412.0767)."""

from torch import nn


def unit(inputs: int, outputs: int) -> list[nn.Module]:
    """Convolution and activation."""
    return [nn.Conv3d(inputs, outputs, 3, padding=1), nn.ReLU()]


def c3d() -> nn.Module:
    """Its head flattens time with everything else: clips of 16 frames of 16 pixels alone."""
    return nn.Sequential(
        *unit(3, 4),
        nn.MaxPool3d((1, 2, 2), (1, 2, 2)),
        *unit(4, 4),
        nn.MaxPool3d(2, 2),
        *unit(4, 6),
        *unit(6, 6),
        nn.MaxPool3d(2, 2),
        *unit(6, 8),
        *unit(8, 8),
        nn.MaxPool3d(2, 2, padding=(0, 1, 1)),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2 * 2, 16),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(16, 5),
    )
