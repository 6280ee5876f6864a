"""Networks equal those of other libraries, and read the files that these save.

Each library builds its network with random weights and saves it in its format. The file is read
into our network, and both are run on one clip.
"""

import math
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
    """A network of another library.

    Attributes:
        name: our name of the network.
        make: builds the library's network.
        clip: (C, T, H, W).
        wrap: makes the library's file content from a state dict.
        run: computes the network's output for a clip.
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


def pytorchvideo_r2plus1d(name: str, clip: tuple[int, int, int, int]) -> Library:
    """Its head averages the probabilities of positions, which random weights make 0 and 1.

    So the logits of the positions are taken, and the logarithm of that mean is computed here.
    """

    def make() -> nn.Module:
        return load_package("pytorchvideo.models.hub").r2plus1d_r50(
            model_num_class=CLASSES,
            head_pool_kernel_size=(clip[1] // 4, 7, 7),
            head_activation=None,
            head_output_with_global_average=False,
        )

    def run(network: nn.Module, clip: Tensor) -> Tensor:
        positions = network(clip).log_softmax(1).flatten(2)
        assert positions.shape[2] > 1
        return positions.logsumexp(2) - math.log(positions.shape[2])

    return Library(name, make, clip, wrap=lambda state: {"model_state": state}, run=run)


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
    """A backbone of mmaction2 and its head, with the parameter names of its files."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.cls_head = backbone, head

    def forward(self, clip: Tensor) -> Tensor:
        return self.cls_head(self.backbone(clip))


class FrameRecognizer(Recognizer):
    """A 2D backbone of mmaction2, which takes frames as a batch."""

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.transpose(1, 2).flatten(0, 1)
        return self.cls_head(self.backbone(frames), clip.shape[2])


def wrap_for_mmaction(state: dict[str, Tensor]) -> dict[str, Any]:
    """What its runner saves."""
    return {"meta": {"epoch": 1}, "state_dict": state}


def mmaction(
    name: str,
    backbone: str,
    head: tuple[str, int],
    recognizer: type[Recognizer] = Recognizer,
    clip: tuple[int, int, int, int] = (3, 8, 64, 64),
    **options: Any,
) -> Library:
    def make() -> nn.Module:
        models = load_mmaction()
        return recognizer(
            getattr(models, backbone)(pretrained=None, **options),
            getattr(models, head[0])(CLASSES, head[1]),
        )

    return Library(name, make, clip, wrap_for_mmaction)


def mmaction_slowfast(
    name: str,
    tau: int,
    kernel_t: int,
    depths: tuple[int, int] = (50, 50),
    clip: tuple[int, int, int, int] = (3, 16, 64, 64),
    **slow: Any,
) -> Library:
    pathway = {"type": "resnet3d", "pretrained": None, "conv1_stride_t": 1, "pool1_stride_t": 1}
    return mmaction(
        name,
        "ResNet3dSlowFast",
        ("SlowFastHead", 2304),
        clip=clip,
        resample_rate=tau,
        speed_ratio=tau,
        channel_ratio=8,
        slow_pathway={
            **pathway,
            "depth": depths[0],
            "lateral": True,
            "fusion_kernel": kernel_t,
            "conv1_kernel": (1, 7, 7),
            "inflate": (0, 0, 1, 1),
            **slow,
        },
        fast_pathway={
            **pathway,
            "depth": depths[1],
            "lateral": False,
            "base_channels": 8,
            "conv1_kernel": (5, 7, 7),
        },
    )


def mmaction_r2plus1d(name: str, clip: tuple[int, int, int, int]) -> Library:
    def make() -> nn.Module:
        models, common = load_mmaction(), load_package("mmaction.models.common")
        backbone = models.ResNet2Plus1d(
            depth=34,
            pretrained2d=False,
            conv_cfg={"type": common.Conv2plus1d},
            norm_cfg={"type": "BN3d", "requires_grad": True, "eps": 1e-3},
            conv1_kernel=(3, 7, 7),
            temporal_strides=(1, 2, 2, 2),
            zero_init_residual=False,
        )
        return Recognizer(backbone, models.I3DHead(CLASSES, 512))

    return Library(name, make, clip, wrap_for_mmaction)


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
    pytorchvideo_r2plus1d("r2plus1d_r50", (3, 8, 256, 226)),  # four positions in the head
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
    mmaction(
        "i3d_r50_32x2",
        "ResNet3d",
        ("I3DHead", 2048),
        clip=(3, 32, 64, 96),
        depth=50,
        pretrained2d=False,
        conv1_kernel=(5, 7, 7),
        conv1_stride_t=2,
        pool1_stride_t=2,
        inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)),
        zero_init_residual=False,
    ),
    # Larger than the training crop: the head still averages the whole map.
    mmaction_slowfast("slowfast_r50_4x16_mmaction", 8, 5, clip=(3, 16, 256, 232)),
    mmaction_slowfast("slowfast_r50_8x8_mmaction", 4, 7),
    mmaction_slowfast("slowfast_r50_8x8_steplr_mmaction", 4, 7, lateral_norm=True),
    mmaction_slowfast("slowfast_r101_8x8_mmaction", 4, 7, (101, 101)),
    mmaction_slowfast("slowfast_r101_r50_4x16_mmaction", 8, 5, (101, 50)),
    mmaction_r2plus1d("r2plus1d_r34_8x8", (3, 8, 64, 96)),
    mmaction_r2plus1d("r2plus1d_r34_32x2", (3, 13, 33, 47)),
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
def test_networks_saved_by_other_libraries_are_read_and_equal(
    library: Library, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    theirs = randomise_(library.make()).eval()
    torch.save(library.wrap(theirs.state_dict()), tmp_path / "theirs.pth")
    ours = create_model(library.name, weights=tmp_path / "theirs.pth")
    clip = torch.randn(1, *library.clip)
    with torch.inference_mode():
        assert relative_error(ours(clip), library.run(theirs, clip)) <= TOLERANCE


def test_networks_with_other_strides_or_norms_are_refused(tmp_path: Path) -> None:
    """All tensors of these files fit, but the results would differ."""
    i3d = mmaction("", "ResNet3d", ("I3DHead", 2048), depth=50, pretrained2d=False, inflate=(
        (1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)
    ))  # fmt: skip
    torch.save(i3d.make().state_dict(), tmp_path / "i3d.pth")
    with pytest.raises(WeightError, match="halves time twice"):
        create_model("i3d_r50", weights=tmp_path / "i3d.pth")
    theirs = load_package("pytorchvideo.models.hub").i3d_r50(model_num_class=400)
    torch.save(theirs.state_dict(), tmp_path / "i3d.pth")
    with pytest.raises(WeightError, match=r"that of this file's does not; .* fit i3d_r50: choose"):
        create_model("i3d_r50_32x2", weights=tmp_path / "i3d.pth")
    slowfast = mmaction_slowfast("", 4, 7, lateral_norm=True)
    torch.save(slowfast.make().state_dict(), tmp_path / "slowfast.pth")
    with pytest.raises(WeightError, match="mmaction2's slow pathway takes every alpha-th frame"):
        create_model("slowfast_r50_8x8", weights=tmp_path / "slowfast.pth")
