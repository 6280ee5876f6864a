"""Networks equal those of the libraries that publish their weights, and their files are read.

Each library builds its own network, with random weights of its own; what its state is saved as is
read under our name, and both compute the same clip.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from co3d.errors import WeightError
from co3d.models import create_model
from co3d.models.slowfast import pick_slow_frames
from support.installed_packages import load_mmaction, load_package
from support.streaming import randomise_, relative_error

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
CLASSES = 5


@dataclass(frozen=True)
class Library:
    """A network as a library builds it.

    Attributes:
        name: ours.
        make: builds theirs.
        clip: (C, T, H, W).
        wrap: what the library saves a state as.
        run: its output on a clip.
    """

    name: str
    make: Callable[[], nn.Module]
    clip: tuple[int, int, int, int] = (3, 8, 64, 64)
    wrap: Callable[[dict[str, Tensor]], Any] = dict
    run: Callable[[nn.Module, Tensor], Tensor] = field(default=lambda network, clip: network(clip))


def torchvision(name: str, clip: tuple[int, int, int, int] = (3, 8, 32, 40)) -> Library:
    def make() -> nn.Module:
        return getattr(load_package("torchvision.models.video"), name)(num_classes=CLASSES)

    return Library(name, make, clip)


def pytorchvideo(name: str, module: str, function: str, **options: Any) -> Library:
    def make() -> nn.Module:
        library = load_package(f"pytorchvideo.models.{module}")
        return getattr(library, function)(model_num_class=CLASSES, **options)

    return Library(name, make, wrap=lambda state: {"model_state": state, "cfg": "…"})


def slowfast(name: str, alpha: int, kernel_t: int) -> Library:
    def make() -> nn.Module:
        library = load_package("pytorchvideo.models.slowfast")
        return library.create_slowfast(
            model_num_class=CLASSES,
            slowfast_channel_reduction_ratio=(8,),
            slowfast_conv_channel_fusion_ratio=2,
            slowfast_fusion_conv_kernel_size=(kernel_t, 1, 1),
            slowfast_fusion_conv_stride=(alpha, 1, 1),
            head_pool_kernel_sizes=((8 // alpha, 2, 2), (8, 2, 2)),
        )

    def run(network: nn.Module, clip: Tensor) -> Tensor:
        picked = pick_slow_frames(clip.shape[2], alpha)
        return network([clip[:, :, picked], clip])

    return Library(name, make, wrap=lambda state: {"model_state": state}, run=run)


class Recognizer(nn.Module):
    """A backbone of mmaction2 and its head, with the names that its files have."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.cls_head = backbone, head

    def forward(self, clip: Tensor) -> Tensor:
        return self.cls_head(self.backbone(clip))


class FrameRecognizer(Recognizer):
    """Its networks of pictures take frames as a batch."""

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.transpose(1, 2).flatten(0, 1)
        return self.cls_head(self.backbone(frames), clip.shape[2])


def mmaction(
    name: str,
    backbone: str,
    head: tuple[str, int],
    recognizer: type[Recognizer] = Recognizer,
    **options: Any,
) -> Library:
    def make() -> nn.Module:
        models = load_mmaction()
        return recognizer(
            getattr(models, backbone)(pretrained=None, **options),
            getattr(models, head[0])(CLASSES, head[1]),
        )

    # Its runner saves more beside the state.
    return Library(name, make, wrap=lambda state: {"meta": {"epoch": 1}, "state_dict": state})


LIBRARIES = [
    torchvision("r3d_18"),
    torchvision("mc3_18"),
    torchvision("r2plus1d_18"),
    torchvision("s3d", (3, 24, 224, 224)),
    pytorchvideo(
        "slow_r50",
        "resnet",
        "create_resnet",
        stem_conv_kernel_size=(1, 7, 7),
        head_pool_kernel_size=(8, 2, 2),
    ),
    pytorchvideo("c2d_r50", "hub", "c2d_r50", head_pool_kernel_size=(4, 2, 2)),
    pytorchvideo("i3d_r50", "hub", "i3d_r50", head_pool_kernel_size=(4, 2, 2)),
    pytorchvideo(
        "ir_csn_101",
        "csn",
        "create_csn",
        model_depth=101,
        stem_pool=nn.MaxPool3d,
        head_pool_kernel_size=(1, 2, 2),
    ),
    pytorchvideo(
        "x3d_s",
        "x3d",
        "create_x3d",
        input_clip_length=8,
        input_crop_size=64,
        depth_factor=2.2,
        head_activation=None,
    ),
    slowfast("slowfast_r50_8x8", 4, 7),
    mmaction(
        "slow_r50",
        "ResNet3dSlowOnly",
        ("I3DHead", 2048),
        depth=50,
        lateral=False,
        conv1_kernel=(1, 7, 7),
        conv1_stride_t=1,
        pool1_stride_t=1,
        inflate=(0, 0, 1, 1),
    ),
    mmaction("x3d_s", "X3D", ("X3DHead", 432), gamma_w=1, gamma_b=2.25, gamma_d=2.2),
    *(
        mmaction(
            f"{mode}_csn_152",
            "ResNet3dCSN",
            ("I3DHead", 2048),
            depth=152,
            pretrained2d=False,
            with_pool2=False,
            bottleneck_mode=mode,
        )
        for mode in ("ir", "ip")
    ),
    mmaction("tsm_r50", "ResNetTSM", ("TSMHead", 2048), FrameRecognizer, depth=50),
    mmaction("tsm_mobilenet_v2", "MobileNetV2TSM", ("TSMHead", 1280), FrameRecognizer),
]


@pytest.mark.parametrize("library", [pytest.param(one, id=one.name) for one in LIBRARIES])
def test_a_network_as_its_library_builds_and_saves_it(library: Library, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = randomise_(library.make()).eval()
    torch.save(library.wrap(theirs.state_dict()), tmp_path / "theirs.pth")
    ours = create_model(library.name, weights=tmp_path / "theirs.pth")
    clip = torch.randn(1, *library.clip)
    with torch.inference_mode():
        assert relative_error(ours(clip), library.run(theirs, clip)) <= TOLERANCE


def test_a_network_of_other_strides_or_norms_is_refused(tmp_path: Path) -> None:
    """All tensors of these fit, and would give other results."""
    i3d = mmaction("", "ResNet3d", ("I3DHead", 2048), depth=50, pretrained2d=False, inflate=(
        (1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)
    ))  # fmt: skip
    torch.save(i3d.make().state_dict(), tmp_path / "i3d.pth")
    with pytest.raises(WeightError, match="halves time twice"):
        create_model("i3d_r50", weights=tmp_path / "i3d.pth")
