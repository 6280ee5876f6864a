"""A small 3-D ResNet that recognises the motion of the camera.

The family is that of Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action
Recognition" (arXiv:1711.11248): dense 3×3×3 convolutions, batch norm, residual sums. Time is never
strided and only four convolutions have temporal kernels, so the delay of a stream is four frames.
"""

from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.registry import register_model

CAMERA_MOTIONS = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
)

CAMERA_MOTION_CARD = ModelCard(
    name="camera_motion",
    clip_frames=8,
    rate_hz=8.0,
    crop_px=64,
    short_side_px=64,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    summary="names the camera's motion: static, pan, tilt, zoom or roll (bundled)",
    licence="Apache-2.0",
    bundled_weights="camera_motion.safetensors",
)


class _ResidualBlock(nn.Module):
    """Halves height and width, then a 3×3×3 and a 1×3×3 convolution beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.conv1 = nn.Conv3d(in_channels, out_channels, (3, 3, 3), 1, 1, bias=False)
        self.norm1 = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, (1, 3, 3), 1, (0, 1, 1), bias=False)
        self.norm2 = nn.BatchNorm3d(out_channels)
        self.shortcut = nn.Conv3d(in_channels, out_channels, 1, bias=False)
        self.shortcut_norm = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return self.relu(out + self.shortcut_norm(self.shortcut(x)))


class CameraMotionNet(ClipModel):
    """Clip (N, 3, T, H, W) -> logits (N, num_classes), for any T ≥ 1 and any H, W ≥ 16.

    Args:
        num_classes: rows of the classifier.
        dropout: probability of zeroing a pooled feature while training.
        widths: channels after the stem and after each of the three residual blocks.
    """

    min_side_px = 16
    delay = 4  # temporal convolutions on the longest path: the stem and one in each block

    def __init__(
        self,
        num_classes: int = len(CAMERA_MOTIONS),
        dropout: float = 0.2,
        widths: tuple[int, int, int, int] = (16, 32, 64, 96),
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, widths[0], (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(
            *(_ResidualBlock(widths[i], widths[i + 1]) for i in range(len(widths) - 1))
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(widths[-1], num_classes)

    def features(self, clip: Tensor) -> Tensor:
        """One feature vector a frame: clip (N, 3, T, H, W) -> (N, C, T)."""
        return self.blocks(self.stem(clip)).mean((3, 4))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, num_classes)."""
        self.check_clip(clip)
        return self.classify(self.features(clip))

    def forward_settled(self, clip: Tensor) -> Tensor:
        """Logits of a long clip from its inner frames, whose receptive field has no padding."""
        features = self.features(clip)
        if clip.shape[2] > CAMERA_MOTION_CARD.clip_frames:
            features = features[:, :, self.delay : -self.delay]
        return self.classify(features)

    def classify(self, features: Tensor) -> Tensor:
        """Average frame features (N, C, T) over time and classify: -> (N, num_classes)."""
        return self.classifier(self.dropout(features.mean(2)))


@register_model(CAMERA_MOTION_CARD)
def camera_motion(num_classes: int = len(CAMERA_MOTIONS), dropout: float = 0.2) -> CameraMotionNet:
    """Build the network that names camera motions."""
    return CameraMotionNet(num_classes, dropout)
