"""TSM's MobileNetV2 of pictures, named as its authors name it (arXiv:1811.08383, section 4).

The online form takes one frame and the channels that each shift kept of the frame before.
"""

import torch
from torch import Tensor, nn

SETTINGS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
SETTINGS += ((6, 160, 3, 2), (6, 320, 1, 1))


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]


class Block(nn.Module):
    """Where it has a shortcut and expands, an eighth of its branch's input is of the past."""

    def __init__(self, inputs: int, outputs: int, factor: int, stride: int) -> None:
        super().__init__()
        inner = inputs * factor
        wide = unit(inputs, inner, 1) if factor > 1 else []
        deep = unit(inner, inner, 3, stride, inner)
        self.conv = nn.Sequential(*wide, *deep, *unit(inner, outputs, 1)[:2])
        self.is_residual = stride == 1 and inputs == outputs
        self.kept: Tensor | None = None

    def forward(self, frame: Tensor) -> Tensor:
        if not self.is_residual:
            return self.conv(frame)
        own = frame[:, : frame.shape[1] // 8]
        past = torch.zeros_like(own) if self.kept is None else self.kept
        self.kept = own
        return frame + self.conv(torch.cat((past, frame[:, own.shape[1] :]), 1))


class OnlineMobileNet(nn.Module):
    """A frame in, the logits of this frame out; call it in order."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*unit(3, 32, 3, 2))]
        inputs = 32
        for factor, outputs, count, stride in SETTINGS:
            for index in range(count):
                layers.append(Block(inputs, outputs, factor, stride if index == 0 else 1))
                inputs = outputs
        layers.append(nn.Sequential(*unit(inputs, 1280, 1)))
        self.features = nn.ModuleList(layers)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, frame: Tensor) -> Tensor:
        for layer in self.features:
            frame = layer(frame)
        return self.classifier(frame.mean((2, 3)))
